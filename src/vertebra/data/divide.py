"""A source's images in splits: its own where it has some, else ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vertebra.core import VertebraError
from vertebra.data.sources import SPLITS, Source
from vertebra.data.sources.names import PackedNames
from vertebra.data.split import folds, stratified_split

# Shares of the splits that we make ourselves. Digits are cut 1077/360/360.
FOLDER_FRACTIONS = {"test": 0.15, "val": 0.15}
DIGITS_FRACTIONS = {"test": 0.2, "val": 0.2}
DIGITS_SPLIT_SEED = 0
Parts = dict[str, NDArray[np.int64]]


def divide(
    source: Source, seed: int, k: int | None, fold: int | None
) -> tuple[Parts, tuple[str, ...]]:
    """Indices of "train", "val" and "test", and what to tell of how they came about.

    With ``k`` folds, ``fold`` (from 0) of train and val together is val; test is as without.

    Raises:
        VertebraError: too few images to hold some out, or there is no such fold.
    """
    if (k is None) != (fold is None) or (k is not None and not 0 <= (fold or 0) < k):
        raise VertebraError(f"fold {fold} of {k}: expected a number of folds and one from 0 on")
    digits = source.name == "digits"
    fractions = DIGITS_FRACTIONS if digits else FOLDER_FRACTIONS
    if source.given is None:
        every = np.arange(len(source.ids), dtype=np.int64)
        parts = _deal(source, every, fractions, DIGITS_SPLIT_SEED if digits else seed)
        notes: tuple[str, ...] = ()
    else:
        parts, notes = _given(source, source.given, seed, held_out=k is None)
    if k is not None and fold is not None:
        parts = _one_fold(source, parts, seed, k, fold)
        notes = (*notes, f"val is fold {fold} of {k} of the images that are not test")
    if not len(parts["val"]):
        raise _too_few(source, parts)
    return parts, notes


def _given(
    source: Source, given: NDArray[np.int8], seed: int, held_out: bool
) -> tuple[Parts, tuple[str, ...]]:
    parts = {name: np.flatnonzero(given == code) for code, name in enumerate(SPLITS)}
    notes = []
    if held_out and not len(parts["val"]):
        parts.update(_deal(source, parts["train"], {"val": FOLDER_FRACTIONS["val"]}, seed))
        notes.append("no val images: a share of train is held out to watch training")
    if not len(parts["test"]):
        notes.append("no test images: figures on val are of images that chose the checkpoint")
    return parts, tuple(notes)


def _deal(
    source: Source, indices: NDArray[np.int64], fractions: Mapping[str, float], seed: int
) -> Parts:
    groups = None if source.groups is None else source.groups[indices]
    names = _names(source, indices)
    parts = stratified_split(names, source.labels[indices], fractions, seed, groups)
    return {name: indices[places] for name, places in parts.items()}


def _one_fold(source: Source, parts: Parts, seed: int, k: int, fold: int) -> Parts:
    pool = np.sort(np.concatenate([parts["train"], parts["val"]]))
    labels = source.labels[pool]
    groups = None if source.groups is None else source.groups[pool]
    chosen = folds(_names(source, pool), labels, groups, k, seed) == fold
    left = np.bincount(labels[~chosen], minlength=len(source.classes))
    if not left.all():
        name = source.classes[int(left.argmin())]
        raise VertebraError(
            f"all images of class '{name}' in {source.name} that are not test are in fold {fold} "
            f"of {k}; expected some to train on"
        )
    return {**parts, "train": pool[~chosen], "val": pool[chosen]}


def _names(source: Source, indices: NDArray[np.int64]) -> Sequence[str]:
    ids = source.ids
    if isinstance(ids, PackedNames):
        return ids.take(indices)
    return [ids[index] for index in indices.tolist()]


def _too_few(source: Source, parts: Parts) -> VertebraError:
    total = sum(len(indices) for indices in parts.values())
    what = "images" if source.groups is None else "images, which stay together in their groups,"
    return VertebraError(
        f"{total} {what} in {source.name} are too few to hold some out for validation"
    )
