"""A dataset: a source, its splits and its card."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vertebra.core import VertebraError
from vertebra.data.card import DataCard, Skipped
from vertebra.data.decode import DecodeError
from vertebra.data.digits import open_digits
from vertebra.data.folder import open_folder
from vertebra.data.kept import KeptImages, limit_of
from vertebra.data.split import stratified_split
from vertebra.machine import usable_cores

SPLITS = ("train", "val", "test")
# Shares of the splits that we make ourselves. Digits are cut 1077/360/360.
FOLDER_FRACTIONS = {"test": 0.15, "val": 0.15}
DIGITS_FRACTIONS = {"test": 0.2, "val": 0.2}
DIGITS_SPLIT_SEED = 0
# Files that one thread checks before it reports.
_CHECK_AT_ONCE = 64


class Source(Protocol):
    """Where images come from: what every kind of source offers."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def ids(self) -> list[str]: ...  # noqa: D102
    @property
    def labels(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def classes(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def given(self) -> NDArray[np.str_] | None: ...  # noqa: D102
    @property
    def notes(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def native_size(self) -> int | None: ...  # noqa: D102
    @property
    def native_channels(self) -> int: ...  # noqa: D102

    def read(self, index: int, channels: int) -> Tensor: ...  # noqa: D102
    def stamp(self, index: int) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class Split:
    """Some images of a source. ``indices`` (n,) point into it, ascending."""

    name: str
    source: Source
    indices: NDArray[np.int64]
    channels: int

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, place: int) -> Tensor:
        """The image at ``place`` in this split, uint8 (channels, H, W), the caller's own.

        Raises:
            DecodeError: its file cannot be decoded.
        """
        return self.source.read(int(self.indices[place]), self.channels).clone()

    def id(self, place: int) -> str:
        """The stable name of the sample at ``place``."""
        return self.source.ids[int(self.indices[place])]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices (n,)."""
        return self.source.labels[self.indices]


@dataclass(frozen=True)
class ImageDataset:
    """Labelled images in splits.

    ``val`` or ``test`` may be missing (None) where the folders have only some splits; ``train``
    never is. ``skipped`` are the images that could not be decoded; no split contains them.
    """

    source: Source
    channels: int
    train: Split
    val: Split | None
    test: Split | None
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the labels."""
        return self.source.classes

    def split(self, name: str) -> Split:
        """The split called ``name``.

        Raises:
            VertebraError: the dataset has no such split.
        """
        found = {"train": self.train, "val": self.val, "test": self.test}.get(name)
        if found is None:
            raise VertebraError(f"{self.source.name} has no split '{name}'; it has {self._names()}")
        return found

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that there are."""
        return tuple(s for s in (self.train, self.val, self.test) if s is not None)

    @functools.cached_property
    def card(self) -> DataCard:
        """Counts, fingerprint and what was skipped."""
        classes = self.classes
        counts = {
            split.name: dict(
                zip(
                    classes, np.bincount(split.labels, minlength=len(classes)).tolist(), strict=True
                )
            )
            for split in self.splits
        }
        return DataCard(
            source=self.source.name,
            fingerprint=self._fingerprint(),
            classes=classes,
            channels=self.channels,
            counts=counts,
            skipped=self.skipped,
            notes=self.notes,
        )

    def _fingerprint(self) -> str:
        digest = hashlib.sha256("\0".join(self.classes).encode())
        for split in self.splits:
            for index, label in zip(split.indices.tolist(), split.labels.tolist(), strict=True):
                digest.update(f"\n{split.name}\0{label}\0{self.source.stamp(index)}".encode())
        return digest.hexdigest()[:32]

    def _names(self) -> str:
        return ", ".join(split.name for split in self.splits)


def open_dataset(
    source: str | Path,
    seed: int = 0,
    *,
    channels: int | None = None,
    known_broken: Sequence[Skipped] | None = None,
    progress: Callable[[int, int], None] | None = None,
    keep_gib: float | None = None,
) -> ImageDataset:
    """Open labelled images.

    Args:
        source: "digits", or a folder: ``class/*.jpg`` or ``train|val|test/class/*.jpg``.
        seed: decides the splits where the source does not. Digits have one split for everybody.
        channels: 1 (grey) or 3 (RGB); None for the source's own.
        known_broken: images to leave out; None decodes every file once to find them.
        progress: called with (checked, total) while files are checked.
        keep_gib: memory for decoded images, in GiB; None: one, or an eighth of the machine's.

    Raises:
        VertebraError: nothing usable is there; the message says what was expected.
    """
    digits = str(source) == "digits"
    kept = KeptImages(limit_of(keep_gib))
    opened: Source = open_digits() if digits else open_folder(Path(source), kept)
    channels = channels or opened.native_channels
    if known_broken is None:
        known_broken = () if digits else find_broken(opened, channels, progress)
    good = _without(opened, {entry.id for entry in known_broken})
    parts, notes = _divide(opened, good, seed, digits)
    splits = {
        name: Split(name, opened, indices, channels)
        for name, indices in parts.items()
        if len(indices)
    }
    return ImageDataset(
        source=opened,
        channels=channels,
        train=splits["train"],
        val=splits.get("val"),
        test=splits.get("test"),
        skipped=tuple(known_broken),
        notes=(*opened.notes, *notes),
    )


def find_broken(
    source: Source, channels: int, progress: Callable[[int, int], None] | None
) -> tuple[Skipped, ...]:
    """The images that cannot be decoded. Decoding leaves Python, so threads share the cores."""

    def reasons(first: int) -> list[Skipped]:
        found = []
        for index in range(first, min(first + _CHECK_AT_ONCE, total)):
            if stopped:
                break
            try:
                source.read(index, channels)
            except DecodeError as error:
                found.append(Skipped(source.ids[index], error.reason))
        return found

    total, found = len(source.ids), []
    stopped = False
    pool = ThreadPoolExecutor(usable_cores())
    try:
        groups = range(0, total, _CHECK_AT_ONCE)
        for first, some in zip(groups, pool.map(reasons, groups), strict=True):
            found += some
            if progress is not None:
                progress(min(first + _CHECK_AT_ONCE, total), total)
    finally:
        # Not waiting for what is queued: Ctrl-C should end a long check after the present files.
        stopped = True
        pool.shutdown(wait=False, cancel_futures=True)
    return tuple(found)


def _without(source: Source, broken: Collection[str]) -> NDArray[np.int64]:
    """Indices of what can be decoded.

    Raises:
        VertebraError: nothing, or nothing of some class, can.
    """
    good = [index for index, name in enumerate(source.ids) if name not in broken]
    if not good:
        raise nothing_left(source)
    indices = np.array(good, dtype=np.int64)
    kept = indices if source.given is None else indices[source.given[indices] == "train"]
    left = np.bincount(source.labels[kept], minlength=len(source.classes))
    for name, count in zip(source.classes, left, strict=True):
        if count == 0:
            raise VertebraError(f"no image of class '{name}' in {source.name} can be decoded")
    return indices


def nothing_left(source: Source, split: str | None = None) -> VertebraError:
    """The error for a source, or a split of it, none of whose images can be decoded."""
    if split is not None:
        return VertebraError(f"none of the images of '{split}' in {source.name} can be decoded")
    return VertebraError(f"none of the {len(source.ids)} images in {source.name} can be decoded")


def _divide(
    source: Source, good: NDArray[np.int64], seed: int, digits: bool
) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...]]:
    """Indices of each split, and what to tell of how they came about."""
    if source.given is None:
        fractions = DIGITS_FRACTIONS if digits else FOLDER_FRACTIONS
        parts = _deal(source, good, fractions, DIGITS_SPLIT_SEED if digits else seed)
        return _with_val(source, parts), ()
    parts = {name: good[source.given[good] == name] for name in SPLITS}
    notes = []
    if not len(parts["val"]):
        parts.update(_deal(source, parts["train"], {"val": FOLDER_FRACTIONS["val"]}, seed))
        notes.append("no val images: a share of train is held out to watch training")
    if not len(parts["test"]):
        notes.append("no test images: figures on val are of images that chose the checkpoint")
    return _with_val(source, parts), tuple(notes)


def _deal(
    source: Source, indices: NDArray[np.int64], fractions: dict[str, float], seed: int
) -> dict[str, NDArray[np.int64]]:
    ids = [source.ids[index] for index in indices.tolist()]
    parts = stratified_split(ids, source.labels[indices], fractions, seed)
    return {name: indices[places] for name, places in parts.items()}


def _with_val(source: Source, parts: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
    if not len(parts["val"]):
        total = sum(len(indices) for indices in parts.values())
        raise VertebraError(
            f"{total} images in {source.name} are too few to hold some out for validation"
        )
    return parts
