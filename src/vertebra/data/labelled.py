"""Labelled images to evaluate on, which need not be enough to train on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vertebra.data.card import Skipped
from vertebra.data.dataset import Split, find_broken, nothing_left, open_dataset
from vertebra.data.folder import FolderSource, open_folder
from vertebra.data.kept import KeptImages, limit_of


@dataclass(frozen=True)
class Labelled:
    """One split, the images of its source that could not be decoded, and what to tell of it."""

    split: Split
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]


def open_labelled(
    source: str | Path,
    split: str | None = None,
    seed: int = 0,
    *,
    channels: int | None = None,
    keep_gib: float | None = None,
) -> Labelled:
    """Open labelled images to evaluate on.

    Args:
        source: as for :func:`open_dataset`; a folder may hold a single class, and no train folder.
        split: "train", "val" or "test" as :func:`open_dataset` divides them. None: the test split
            where the source has one of its own, else every image.
        seed: decides the splits where the source does not and ``split`` asks for one.
        channels: 1 or 3; None for the source's own.
        keep_gib: memory for decoded images, as for :func:`open_dataset`.

    Raises:
        VertebraError: nothing usable is there, or no such split.
    """
    if str(source) == "digits":
        return _divided(source, split or "test", seed, channels)
    kept = KeptImages(limit_of(keep_gib))
    opened = open_folder(Path(source), kept, training=False)
    own = set() if opened.given is None else set(opened.given.tolist())
    # Where there is no val folder, some of train becomes val.
    if split is not None and (split not in own or (split == "train" and "val" not in own)):
        return _divided(source, split, seed, channels)
    return _whole(opened, split or ("test" if "test" in own else None), channels)


def _divided(source: str | Path, split: str, seed: int, channels: int | None) -> Labelled:
    dataset = open_dataset(source, seed, channels=channels)
    return Labelled(dataset.split(split), dataset.skipped, dataset.notes)


def _whole(opened: FolderSource, split: str | None, channels: int | None) -> Labelled:
    """Every image that a split's folder holds; None: every image that there is."""
    channels = channels or opened.native_channels
    broken = find_broken(opened, channels, None)
    named = {entry.id for entry in broken}
    good = np.array([i for i, name in enumerate(opened.ids) if name not in named], dtype=np.int64)
    if split is not None and opened.given is not None:
        good = good[opened.given[good] == split]
    if not len(good):
        raise nothing_left(opened, split)
    notes = opened.notes
    if split is None and opened.given is not None and (opened.given == "train").any():
        notes = (*notes, "no test images: every image is judged, those to train on too")
    return Labelled(Split(split or "all", opened, good, channels), broken, notes)
