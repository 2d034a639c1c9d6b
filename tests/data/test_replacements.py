"""Files that cannot be decoded in the middle of training or of an evaluation."""

from pathlib import Path

import pytest
import torch
from numbered import PLAIN, TINY, equal, flat, numbered, numbers, plain_epoch
from PIL import Image

from vertebra.core import Preprocessing, VertebraError
from vertebra.data import (
    Sampling,
    Skipped,
    evaluation_batches,
    open_dataset,
    training_batches,
)
from vertebra.runs.recipe import AugmentSection

BROKEN = frozenset({4, 17, 18, 30})
SMALL = Preprocessing(size=24, resize=28, mean=(0.5,) * 3, std=(0.25,) * 3)


def test_another_image_stands_in_with_its_own_label() -> None:
    split = numbered(47, broken=BROKEN)
    whole = numbered(47)
    for epoch in range(3):
        for (ours,), (theirs,) in zip(
            plain_epoch(split, Sampling(10), epoch=epoch),
            plain_epoch(whole, Sampling(10), epoch=epoch),
            strict=True,
        ):
            assert torch.equal(ours.places, theirs.places)
            shown, asked = ours.images[:, 0, 0, 0].long(), ours.places
            assert torch.equal(ours.labels, shown % 2)
            bad = torch.tensor([place in BROKEN for place in asked.tolist()])
            assert torch.equal(shown[~bad], asked[~bad])
            assert not set(shown.tolist()) & BROKEN
            named = {entry.id for entry in ours.broken}
            assert {f"{place:03d}" for place in asked[bad].tolist()} <= named
            assert named <= {f"{place:03d}" for place in BROKEN}
            assert all(entry.reason == "torn" for entry in ours.broken)


def test_replacements_differ_by_epoch_and_image() -> None:
    split = numbered(200, broken=frozenset({4, 17}))
    stands = set()
    for epoch in range(10):
        for (batch,) in plain_epoch(split, Sampling(200), epoch=epoch):
            for shown, asked in zip(batch.images[:, 0, 0, 0].tolist(), batch.places, strict=True):
                if int(asked) in (4, 17):
                    stands.add(shown)
    assert len(stands) > 10


def test_workers_ranks_and_a_late_start_change_no_replacement() -> None:
    split = numbered(47, broken=BROKEN)
    expected = plain_epoch(split, Sampling(10))
    for workers in (1, 4):
        made = training_batches(split, TINY, PLAIN, Sampling(10), 0, workers)
        for first in (0, 2):
            found = list(made(0, first))
            assert all(equal(a, b) for a, b in zip(found, expected[first:], strict=True))
    ranks = [plain_epoch(split, Sampling(10), rank=r, world=3, micro_batch=2) for r in range(3)]
    for step, (whole,) in enumerate(expected):
        parts = [batch for steps in ranks for batch in steps[step]]
        assert flat(numbers(parts)) == whole.images[:, 0, 0, 0].tolist()
        assert {entry for part in parts for entry in part.broken} == set(whole.broken)


def test_the_repeats_of_a_broken_image_are_of_one_replacement() -> None:
    split = numbered(47, broken=BROKEN)
    for (batch,) in plain_epoch(split, Sampling(12, repeats=3)):
        shown = batch.images[:, 0, 0, 0].reshape(-1, 3)
        assert all(len(set(row)) == 1 for row in shown.tolist())
        assert len(batch.broken) == len({entry.id for entry in batch.broken})


@pytest.mark.parametrize("workers", [0, 1])
def test_when_hardly_anything_can_be_decoded_it_is_an_error(workers: int) -> None:
    split = numbered(47, broken=frozenset(range(47)))
    with pytest.raises(VertebraError, match="too many files of numbered cannot be decoded") as one:
        plain_epoch(split, Sampling(10), workers=workers)
    assert "Traceback" not in str(one.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_evaluation_leaves_them_out_and_says_so(workers: int) -> None:
    split = numbered(47, broken=BROKEN)
    batches = list(evaluation_batches(split, TINY, 10, workers))
    shown = flat(numbers(batches))
    assert shown == [place for place in range(47) if place not in BROKEN]
    assert torch.cat([batch.places for batch in batches]).tolist() == shown
    assert torch.cat([batch.labels for batch in batches]).tolist() == [n % 2 for n in shown]
    told = [entry for batch in batches for entry in batch.broken]
    assert told == [Skipped(f"{place:03d}", "torn") for place in sorted(BROKEN)]


def test_a_batch_of_nothing_but_broken_images_is_empty() -> None:
    split = numbered(6, broken=frozenset({2, 3}))
    sizes = [len(batch.images) for batch in evaluation_batches(split, TINY, 2)]
    assert sizes == [2, 0, 2]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("damage", ["emptied", "cut", "removed"])
def test_a_file_that_breaks_during_training(tmp_path: Path, workers: int, damage: str) -> None:
    for number in range(40):
        folder = tmp_path / "ab"[number % 2]
        folder.mkdir(exist_ok=True)
        pixels = torch.randint(0, 256, (24, 24, 3), dtype=torch.uint8).numpy()
        Image.fromarray(pixels).save(folder / f"{number}.jpg")
    split = open_dataset(tmp_path, cache="none").train
    path = tmp_path / split.id(0)
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(b"" if damage == "emptied" else path.read_bytes()[:300])
    section = AugmentSection(crop="pad", padding=4)
    made = training_batches(split, SMALL, section, Sampling(len(split)), 0, workers)
    ((batch,),) = made(0)
    assert len(batch.images) == len(split)
    (entry,) = batch.broken
    assert entry.id == split.id(0)
    if damage == "removed":
        assert entry.reason == "no such file"
