"""One batch over several processes and micro-batches: the same images for every number."""

import itertools

import pytest
import torch
from numbered import PLAIN, TINY, equal, flat, numbered, numbers, plain_epoch

from vertebra.core import VertebraError
from vertebra.data import Batch, Sampling, evaluation_batches, training_batches

SAMPLING = Sampling(10, short_batch="keep")


def joined(steps: list[list[Batch]]) -> list[list[int]]:
    return [flat(numbers(batches)) for batches in steps]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("micro", [None, 1, 3, 100])
def test_the_parts_make_up_the_batch(world: int, micro: int | None, workers: int) -> None:
    split = numbered(47)
    whole = joined(plain_epoch(split, SAMPLING))
    ranks = [
        plain_epoch(split, SAMPLING, workers=workers, rank=rank, world=world, micro_batch=micro)
        for rank in range(world)
    ]
    parts = [joined(steps) for steps in ranks]
    assert [flat(step) for step in zip(*parts, strict=True)] == whole
    for steps in zip(*parts, strict=True):
        sizes = [len(part) for part in steps]
        assert max(sizes) - min(sizes) <= 1
    for batches in itertools.chain(*ranks):
        assert all(len(batch.labels) <= (micro or 100) for batch in batches)
        assert all(len(batch.labels) == micro for batch in batches[:-1])
        if micro is None:
            assert len(batches) <= 1


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_a_start_in_mid_epoch_gives_the_tail_on_every_rank(workers: int) -> None:
    split = numbered(47)
    for rank in range(2):
        options = {"rank": rank, "world": 2, "micro_batch": 2}
        expected = plain_epoch(split, SAMPLING, **options)
        made = training_batches(split, TINY, PLAIN, SAMPLING, 0, workers, (), rank, 2, 2)
        for first in (3, 0, 5, 1):
            found = list(made(0, first))
            assert len(found) == 5 - first
            assert all(equal(a, b) for a, b in zip(found, expected[first:], strict=True))


def test_places_and_labels_belong_to_the_images() -> None:
    split = numbered(47)
    for batch in itertools.chain(*plain_epoch(split, SAMPLING, rank=1, world=3, micro_batch=2)):
        assert torch.equal(batch.images[:, 0, 0, 0].long(), batch.places)
        assert torch.equal(batch.labels, batch.places % 2)
        assert batch.broken == ()


def test_more_processes_than_images_are_refused() -> None:
    for count, size in ((50, 3), (3, 50)):
        with pytest.raises(VertebraError, match="3 images cannot be divided between 4"):
            training_batches(numbered(count), TINY, PLAIN, Sampling(size), 0, world=4)


def test_a_short_batch_may_leave_a_process_without_images() -> None:
    steps = [plain_epoch(numbered(21), SAMPLING, rank=r, world=4)[-1] for r in range(4)]
    assert sorted(len(step) for step in steps) == [0, 0, 0, 1]


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_an_evaluation_over_ranks_is_the_whole_in_order(world: int) -> None:
    split = numbered(23)
    places: list[int] = []
    for rank in range(world):
        for batch in evaluation_batches(split, TINY, 4, 0, rank, world):
            assert torch.equal(batch.images[:, 0, 0, 0].long(), batch.places)
            places += batch.places.tolist()
    assert places == list(range(23))
