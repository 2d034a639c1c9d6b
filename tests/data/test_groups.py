"""Folds and groups, beside scikit-learn's StratifiedKFold and StratifiedGroupKFold."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from folders import fill, members
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from vertebra.core import VertebraError
from vertebra.data import folds, open_dataset, stratified_split
from vertebra.data.sources.names import PackedNames

FRACTIONS = {"test": 0.15, "val": 0.15}
Ints = NDArray[np.int64]


def names(count: int) -> PackedNames:
    return PackedNames.of(f"{number}.png" for number in range(count))


def skewed(count: int, classes: int, seed: int = 0) -> Ints:
    """Labels of which a few are common and many are rare."""
    generator = np.random.default_rng(seed)
    shares = 1 / np.arange(1, classes + 1)
    labels = generator.choice(classes, count, p=shares / shares.sum())
    return np.concatenate([np.arange(classes), labels])[:count].astype(np.int64)


def grouped(labels: Ints, mean: float, mixed: bool, seed: int = 0) -> NDArray[np.int32]:
    """Groups of about ``mean`` images, some much larger; of one class each unless ``mixed``."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(labels))
    if not mixed:
        order = order[np.argsort(labels[order], kind="stable")]
    starts = generator.random(len(labels)) < 1 / mean
    if not mixed:
        starts |= np.diff(labels[order], prepend=-1) != 0
    groups = np.empty(len(labels), dtype=np.int32)
    groups[order] = np.cumsum(starts)
    return groups


def table(parts: Ints, labels: Ints) -> Ints:
    """(parts, classes) counts."""
    found = np.zeros((parts.max() + 1, labels.max() + 1), dtype=np.int64)
    np.add.at(found, (parts, labels), 1)
    return found


def as_parts(divided: dict[str, Ints], count: int) -> Ints:
    parts = np.full(count, -1)
    for part, indices in enumerate(divided.values()):
        assert (parts[indices] == -1).all()
        parts[indices] = part
    assert (parts >= 0).all()
    return parts


def with_scikit(splitter: object, labels: Ints, groups: NDArray[np.int32] | None = None) -> Ints:
    found = np.empty(len(labels), dtype=np.int64)
    for number, (_, held) in enumerate(splitter.split(labels, labels, groups)):  # type: ignore[attr-defined]
        found[held] = number
    return found


def unevenness(parts: Ints, labels: Ints) -> float:
    """Standard deviation over the folds of each class's share of itself, over the classes."""
    counts = table(parts, labels)
    return float((counts / counts.sum(axis=0)).std(axis=0).mean())


# Folds


@pytest.mark.parametrize("k", [2, 5, 7])
def test_folds_are_as_even_as_scikit_learns(k: int) -> None:
    labels = skewed(1003, 12)
    ours = table(folds(names(1003), labels, None, k, 0), labels)
    assert (ours.max(axis=0) - ours.min(axis=0)).max() <= 1
    assert np.ptp(ours.sum(axis=1)) <= 1
    theirs = table(with_scikit(StratifiedKFold(k, shuffle=True, random_state=0), labels), labels)
    assert np.abs(ours - theirs).max() <= 1


def test_folds_go_by_seed_and_name_and_not_by_place() -> None:
    labels = skewed(400, 5)
    one = folds(names(400), labels, None, 5, 0)
    assert (one == folds(names(400), labels, None, 5, 0)).all()
    assert (one != folds(names(400), labels, None, 5, 1)).mean() > 0.6
    order = np.random.default_rng(0).permutation(400)
    other = folds(names(400).take(order), labels[order], None, 5, 0)
    assert (other == one[order]).all()


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("k", [3, 5])
def test_folds_of_groups_are_about_as_even_as_scikit_learns(k: int, mixed: bool) -> None:
    ratios = []
    for seed in range(5):
        labels = skewed(3000, 10, seed)
        groups = grouped(labels, 6, mixed, seed)
        ours = folds(names(3000), labels, groups, k, 0)
        for group in np.unique(groups):
            assert len(np.unique(ours[groups == group])) == 1
        splitter = StratifiedGroupKFold(k, shuffle=True, random_state=0)
        theirs = with_scikit(splitter, labels, groups)
        assert np.ptp(np.bincount(ours, minlength=k)) <= 3 * groups_size(groups)
        ratios.append(unevenness(ours, labels) / unevenness(theirs, labels))
    # No worse than 1.2 times theirs on average.
    assert np.mean(ratios) < 1.2


def groups_size(groups: NDArray[np.int32]) -> int:
    return int(np.bincount(groups).max())


def test_folds_that_cannot_be() -> None:
    labels = skewed(40, 2)
    for k in (1, 0, 41):
        with pytest.raises(VertebraError, match="40 images; expected 2 to 40"):
            folds(names(40), labels, None, k, 0)
    groups = np.repeat(np.arange(4, dtype=np.int32), 10)
    with pytest.raises(VertebraError, match="4 groups; expected 2 to 4"):
        folds(names(40), labels, groups, 5, 0)


# Splits with groups


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("mean", [2, 8, 20])
def test_groups_stay_together_and_classes_keep_their_shares(mean: float, mixed: bool) -> None:
    for seed in range(5):
        labels = skewed(4000, 8, seed)
        groups = grouped(labels, mean, mixed, seed)
        divided = stratified_split(names(4000), labels, FRACTIONS, seed, groups)
        parts = as_parts(divided, 4000)
        for group in np.unique(groups):
            assert len(np.unique(parts[groups == group])) == 1
        counts = table(parts, labels)
        due = np.outer([0.7, 0.15, 0.15], np.bincount(labels))
        members_of = table(groups.astype(np.int64), labels)
        bound = np.maximum(members_of.max(axis=0), 1)
        assert (np.abs(counts - due) <= 1.5 * bound).all()
        assert counts[0].all(), "every class can be trained on"


def test_groups_of_one_are_divided_about_as_without() -> None:
    labels = skewed(1000, 6)
    groups = np.arange(1000, dtype=np.int32)
    with_groups = as_parts(stratified_split(names(1000), labels, FRACTIONS, 0, groups), 1000)
    without = as_parts(stratified_split(names(1000), labels, FRACTIONS, 0), 1000)
    assert np.abs(table(with_groups, labels) - table(without, labels)).max() <= 2


def test_a_class_of_one_group_is_trained_on() -> None:
    labels = np.array([0] * 50 + [1] * 50 + [2] * 6)
    groups = np.concatenate([np.arange(100) // 5, np.full(6, 99)]).astype(np.int32)
    for seed in range(10):
        divided = stratified_split(names(106), labels, FRACTIONS, seed, groups)
        assert set(range(100, 106)) <= set(divided["train"].tolist())
        assert len(divided["val"])
        assert len(divided["test"])


def test_rare_classes_among_common_ones_are_trained_on() -> None:
    """Each rare class is in one group alone, which another part may lack for what else it has."""
    for seed in range(20):
        generator = np.random.default_rng(seed)
        sizes = generator.integers(5, 60, 12)
        groups = np.repeat(np.arange(12, dtype=np.int32), sizes)
        labels = np.zeros(len(groups), dtype=np.int64)
        labels[np.cumsum(sizes)[:4] - 1] = np.arange(1, 5)
        total = len(labels)
        divided = stratified_split(names(total), labels, {"test": 0.3, "val": 0.3}, seed, groups)
        assert len(np.unique(labels[divided["train"]])) == 5
        assert len(divided["val"])


def test_groups_are_dealt_by_seed_and_not_by_number_or_place() -> None:
    labels = skewed(600, 4)
    groups = grouped(labels, 5, True)
    one = as_parts(stratified_split(names(600), labels, FRACTIONS, 0, groups), 600)
    renamed = (groups * 7919 % 104729).astype(np.int32)
    same = as_parts(stratified_split(names(600), labels, FRACTIONS, 0, renamed), 600)
    assert (one == same).all()
    order = np.random.default_rng(0).permutation(600)
    moved = stratified_split(names(600).take(order), labels[order], FRACTIONS, 0, groups[order])
    assert (as_parts(moved, 600) == one[order]).all()
    other = as_parts(stratified_split(names(600), labels, FRACTIONS, 1, groups), 600)
    assert (one != other).mean() > 0.2


# Folds of a dataset


@pytest.mark.parametrize("given", [False, True])
def test_a_dataset_in_folds(tmp_path: Path, given: bool) -> None:
    if given:
        for split, count in {"train": 20, "val": 10, "test": 5}.items():
            fill(tmp_path / split, ["cat", "dog"], count)
    else:
        fill(tmp_path, ["cat", "dog"], 40)
    whole = open_dataset(tmp_path, seed=3)
    held: list[str] = []
    for fold in range(5):
        opened = open_dataset(tmp_path, seed=3, folds=5, fold=fold)
        assert members(opened.test) == members(whole.test)
        rest = sorted(members(whole.train) + members(whole.val))
        assert sorted(members(opened.train) + members(opened.val)) == rest
        counts = opened.card.counts["val"]
        assert abs(counts["cat"] - counts["dog"]) <= 1
        held += members(opened.val)
    assert sorted(held) == sorted(members(whole.train) + members(whole.val))


def test_folds_that_a_dataset_cannot_have(tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "dog"], 20)
    for wrong in ({"folds": 5}, {"fold": 0}, {"folds": 5, "fold": 5}, {"folds": 5, "fold": -1}):
        with pytest.raises(VertebraError, match="fold"):
            open_dataset(tmp_path, **wrong)
    fill(tmp_path, ["eel"], 1)
    refused = []
    for fold in range(3):
        with contextlib.suppress(VertebraError):
            open_dataset(tmp_path, folds=3, fold=fold)
            continue
        refused.append(fold)
    assert len(refused) == 1
    with pytest.raises(VertebraError, match="all images of class 'eel'"):
        open_dataset(tmp_path, folds=3, fold=refused[0])
