"""The digits against scikit-learn."""

from pathlib import Path

import numpy as np
import pytest
import torch
from folders import members
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedShuffleSplit
from torch.nn import functional as F

from vertebra.data import (
    ImageDataset,
    open_dataset,
    open_labelled,
)


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return open_dataset("digits")


def test_digits_are_divided_as_scikit_learn_would(digits: ImageDataset) -> None:
    assert [len(split) for split in digits.splits] == [1077, 360, 360]
    target = load_digits().target
    places = [split.indices for split in digits.splits]
    assert sorted(np.concatenate(places).tolist()) == list(range(1797)), "disjoint and complete"
    divider = StratifiedShuffleSplit(1, test_size=360, train_size=1437, random_state=0)
    _, theirs = next(divider.split(target, target))
    expected = np.bincount(target[theirs], minlength=10)
    proportional = np.bincount(target) * 360 / 1797
    for name in ("val", "test"):
        ours = np.bincount(digits.split(name).labels, minlength=10)
        assert np.abs(ours - proportional).max() < 1
        assert np.abs(ours - expected).max() <= 1
    assert np.array_equal(digits.split("test").labels, target[digits.split("test").indices])


def test_digits_have_one_split_for_every_seed(digits: ImageDataset) -> None:
    for seed in (1, 7, 12345):
        other = open_dataset("digits", seed=seed)
        assert [members(s) for s in other.splits] == [members(s) for s in digits.splits]
        assert other.card == digits.card


def test_digits_are_not_divided_by_place(digits: ImageDataset) -> None:
    """A writer's digits follow each other, so a split by place would be another question."""
    middle = np.mean([split.indices.mean() / 1797 for split in digits.splits])
    assert abs(middle - 0.5) < 0.05
    for split in digits.splits:
        assert abs(split.indices.mean() / 1797 - 0.5) < 0.05


def test_pixels_of_the_digits(digits: ImageDataset) -> None:
    grey = torch.tensor(load_digits().images / 16, dtype=torch.float64)[:, None]
    expected = 255 * F.interpolate(grey, size=(32, 32), mode="bilinear", align_corners=False)
    for split in digits.splits:
        ours = torch.stack([split.read(place) for place in range(len(split))])
        assert ours.dtype == torch.uint8
        assert (ours.double() - expected[split.indices]).abs().max() <= 0.5 + 1e-4


def test_digits_in_colour_are_three_times_the_grey(digits: ImageDataset) -> None:
    colour = open_dataset("digits", channels=3)
    assert colour.train.read(5).shape == (3, 32, 32)
    assert torch.equal(colour.train.read(5), digits.train.read(5).expand(3, -1, -1))
    assert colour.card.fingerprint == digits.card.fingerprint


def test_digits_are_named_alike_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: ImageDataset
) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_labelled("digits").split.name == "test"
    assert members(open_labelled("digits").split) == members(digits.test)
    assert members(open_labelled("digits", "val").split) == members(digits.val)
