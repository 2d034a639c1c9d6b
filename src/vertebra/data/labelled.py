"""Labelled images to evaluate on, which need not be enough to train on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vertebra.core import VertebraError
from vertebra.data.card import Skipped
from vertebra.data.dataset import Split, open_dataset
from vertebra.data.sources import SPLITS, Source, open_source


@dataclass(frozen=True, eq=False)
class Labelled:
    """One split and what to tell of it.

    ``skipped`` is empty: what cannot be decoded is told of by the batches that are read.
    """

    split: Split
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]


def open_labelled(
    source: str | Path,
    split: str | None = None,
    seed: int = 0,
    *,
    channels: int | None = None,
) -> Labelled:
    """Open labelled images to evaluate on. No image is decoded, and none is kept.

    Args:
        source: as for :func:`open_dataset`; it may hold a single class, and nothing to train on.
        split: "train", "val" or "test" as :func:`open_dataset` divides them. None: the test split
            where the source has one of its own, else every image.
        seed: decides the splits where the source does not and ``split`` asks for one.
        channels: 1 or 3; None for the source's own.

    Raises:
        VertebraError: nothing usable is there, or no such split.
    """
    if str(source) == "digits":
        return _divided(source, split or "test", seed, channels)
    opened = open_source(source, training=False)
    own = _own_splits(opened)
    # Where there is no val folder, some of train becomes val.
    if split is not None and (split not in own or (split == "train" and "val" not in own)):
        return _divided(source, split, seed, channels)
    return _whole(opened, split or ("test" if "test" in own else None), channels)


def _own_splits(source: Source) -> set[str]:
    if source.given is None:
        return set()
    return {SPLITS[code] for code in np.unique(source.given).tolist()}


def _divided(source: str | Path, split: str, seed: int, channels: int | None) -> Labelled:
    dataset = open_dataset(source, seed, channels=channels, cache="none")
    return Labelled(dataset.split(split), dataset.skipped, dataset.notes)


def _whole(opened: Source, split: str | None, channels: int | None) -> Labelled:
    """Every image that a split of the source holds; None: every image that there is."""
    if split is not None and opened.given is not None:
        indices = np.flatnonzero(opened.given == SPLITS.index(split))
    else:
        indices = np.arange(len(opened.ids), dtype=np.int64)
    if not len(indices):
        raise VertebraError(f"no images in {opened.name}")
    notes = opened.notes
    if split is None and "train" in _own_splits(opened):
        notes = (*notes, "no test images: every image is judged, those to train on too")
    chosen = Split(split or "all", opened, indices, channels or opened.native_channels)
    return Labelled(chosen, (), notes)
