"""Which images an epoch shows: balance, repeats, short batches; and images that change size."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from numbered import equal, flat, numbered, numbers, plain_epoch

from vertebra.core import Preprocessing, VertebraError, rng
from vertebra.data import Sampling, Split, epoch_order, open_dataset, steps_per_epoch
from vertebra.data import training_batches as make_batches
from vertebra.runs.recipe import AugmentSection


def test_the_plain_order_is_one_permutation() -> None:
    order = epoch_order(numbered(50), Sampling(8), 3, 7)
    expected = rng(3, "order", 7).permutation(50)
    assert [order[step][0].tolist() for step in range(len(order))] == [
        expected[step * 8 : step * 8 + 8].tolist() for step in range(6)
    ]
    assert not any(order[step][1].any() for step in range(len(order)))


@pytest.mark.parametrize(
    ("samples", "kind", "sizes"),
    [(10, "drop", [3, 3, 3]), (10, "keep", [3, 3, 3, 1]), (9, "keep", [3] * 3), (2, "keep", [2])],
)
def test_the_last_batch_is_dropped_or_kept(samples: int, kind: Any, sizes: list[int]) -> None:
    sampling = Sampling(3, short_batch=kind)
    steps = plain_epoch(numbered(samples), sampling)
    assert [len(batch.labels) for (batch,) in steps] == sizes
    assert steps_per_epoch(samples, sampling) == len(sizes)
    if kind == "keep":
        assert sorted(flat(numbers([batch for (batch,) in steps]))) == list(range(samples))


def unequal() -> Split:
    """100, 10, 0 and 3 images of four classes."""
    labels = np.repeat([0, 1, 3], [100, 10, 3]).astype(np.int64)
    return numbered(113, labels=labels[np.random.default_rng(0).permutation(113)])


def test_balanced_classes_come_equally_often() -> None:
    split = unequal()
    left_over: Counter[int] = Counter()
    shown: Counter[int] = Counter()
    for epoch in range(60):
        order = epoch_order(split, Sampling(113, balanced=True), 0, epoch)
        assert len(order.places) == 113
        counts = Counter(split.labels[order.places].tolist())
        assert sorted(counts.values()) == [37, 38, 38]
        left_over[min(counts, key=counts.__getitem__)] += 1
        shown.update(order.places.tolist())
    assert set(left_over) == {0, 1, 3}, "no class is the short one in every epoch"
    few = [shown[place] for place in np.flatnonzero(split.labels == 3).tolist()]
    # Three images share 60 * 113 / 3 draws: 753 each, 5 sigma.
    assert all(abs(count - 60 * 113 / 9) < 5 * np.sqrt(60 * 113 / 9) for count in few)
    first = [
        int(split.labels[epoch_order(split, Sampling(1, balanced=True), 0, e)[0][0]][0])
        for e in range(60)
    ]
    assert set(first) == {0, 1, 3}
    classes = split.labels[epoch_order(split, Sampling(1, balanced=True), 0, 0).places]
    assert 0.2 < (classes[3:] == classes[:-3]).mean() < 0.5, "they do not come in one order"


@pytest.mark.parametrize(("batch_size", "repeats"), [(12, 3), (8, 2), (10, 3), (4, 4)])
def test_repeats_follow_each_other_in_a_batch(batch_size: int, repeats: int) -> None:
    split = numbered(60)
    sampling = Sampling(batch_size, repeats=repeats)
    order = epoch_order(split, sampling, 0, 0)
    assert len(order) == steps_per_epoch(60, sampling) == 60 // batch_size
    pairs = []
    for step in range(len(order)):
        places, repeat = order[step]
        assert len(places) == batch_size
        pairs += list(zip(places.tolist(), repeat.tolist(), strict=True))
        if batch_size % repeats == 0:
            assert set(Counter(places.tolist()).values()) == {repeats}
    assert len(set(pairs)) == len(pairs)
    assert len({place for place, _ in pairs}) == -(-len(pairs) // repeats)
    seen = {
        place
        for epoch in range(12 * repeats)
        for place in epoch_order(split, sampling, 0, epoch).places.tolist()
    }
    assert seen == set(range(60))


def test_each_repeat_is_augmented_anew_and_the_first_as_ever() -> None:
    split = open_dataset("digits").train
    grey = Preprocessing(size=32, resize=32, mean=(0.5,), std=(0.25,))
    pad = AugmentSection(crop="pad", padding=8)

    def views(sampling: Sampling) -> dict[tuple[int, int], torch.Tensor]:
        found = {}
        order = epoch_order(split, sampling, 0, 0)
        for step, (batch,) in enumerate(make_batches(split, grey, pad, sampling, 0)(0)):
            keys = zip(*(part.tolist() for part in order[step]), strict=True)
            found.update(zip(keys, batch.images, strict=True))
        return found

    once, thrice = views(Sampling(90)), views(Sampling(90, repeats=3))
    shared = [key for key in thrice if key[1] == 0 and key in once]
    assert len(shared) > 100
    assert all(torch.equal(thrice[key], once[key]) for key in shared)
    places = {place for place, _ in thrice}
    # Two of 289 windows are the same now and then.
    alike = sum(torch.equal(thrice[place, 0], thrice[place, 1]) for place in places)
    assert alike < 0.05 * len(places)


def test_sizes_of_epochs() -> None:
    split = open_dataset("digits").train
    grey = Preprocessing(size=32, resize=40, mean=(0.5,), std=(0.25,))
    pad = AugmentSection(crop="pad", padding=0)
    for workers in (0, 1):
        progressive = make_batches(split, grey, pad, Sampling(100), 0, workers, sizes=(16, 24))
        for epoch, size in enumerate((16, 24, 24)):
            fixed = make_batches(split, grey.for_size(size), pad, Sampling(100), 0)
            ours, theirs = list(progressive(epoch)), list(fixed(epoch))
            assert ours[0][0].images.shape[-2:] == (size, size)
            for one, other in zip(ours, theirs, strict=True):
                assert equal(one, other)


def test_what_no_order_can_be_made_of_is_refused() -> None:
    for wrong in ({"batch_size": 0}, {"batch_size": 4, "repeats": 0}):
        with pytest.raises(VertebraError, match="at least 1"):
            Sampling(**wrong)


def test_a_million_places_are_no_list() -> None:
    split = numbered(10)
    many = Split("train", split.source, np.zeros(1_000_000, dtype=np.int64), 1)
    order = epoch_order(many, Sampling(256), 0, 0)
    assert isinstance(order.places, np.ndarray)
    assert len(order) == 3906
