"""A dataset: a source, its splits and its card."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vertebra.core import VertebraError
from vertebra.data.cache import Cache, NoCache, open_cache
from vertebra.data.card import DataCard, Skipped
from vertebra.data.decode import DecodeError, decoders
from vertebra.data.divide import divide
from vertebra.data.sources import Source, open_source
from vertebra.machine import usable_cores

# Files that one thread checks before it reports.
_CHECK_AT_ONCE = 64
# Images whose numbers are Python objects at a time.
_BLOCK = 65536


@dataclass(frozen=True, eq=False)
class Split:
    """Some images of a source. ``indices`` (n,) point into it, ascending."""

    name: str
    source: Source
    indices: NDArray[np.int64]
    channels: int
    cache: Cache = field(default_factory=NoCache, repr=False)

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, place: int) -> Tensor:
        """The image at ``place`` in this split, uint8 (channels, H, W), the caller's own.

        Raises:
            DecodeError: its file cannot be decoded.
        """
        index = int(self.indices[place])
        return self.cache.get(index, lambda: self.source.read(index, self.channels))

    def encoded(self, place: int) -> bytes | None:
        """The undecoded file at ``place``; None where the source has none.

        Raises:
            DecodeError: it cannot be read.
        """
        return self.source.encoded(int(self.indices[place]))

    def id(self, place: int) -> str:
        """The stable name of the sample at ``place``."""
        return self.source.ids[int(self.indices[place])]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices (n,)."""
        return self.source.labels[self.indices]


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labelled images in splits.

    ``val`` or ``test`` may be missing (None) where the folders have only some splits; ``train``
    never is. ``skipped`` is empty: images that cannot be decoded are met, and told of, when they
    are read.
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
        groups = self.source.groups
        return DataCard(
            source=self.source.name,
            fingerprint=self._fingerprint(),
            classes=self.classes,
            channels=self.channels,
            counts={split.name: self._counts(split) for split in self.splits},
            skipped=self.skipped,
            notes=self.notes,
            groups=None if groups is None else len(np.unique(groups)),
        )

    def _counts(self, split: Split) -> dict[str, int]:
        counts = np.bincount(split.labels, minlength=len(self.classes)).tolist()
        return dict(zip(self.classes, counts, strict=True))

    def _fingerprint(self) -> str:
        digest = hashlib.sha256("\0".join(self.classes).encode())
        stamp = self.source.stamp
        for split in self.splits:
            for index, label in _pairs(split):
                digest.update(f"\n{split.name}\0{label}\0{stamp(index)}".encode())
        return digest.hexdigest()[:32]

    def _names(self) -> str:
        return ", ".join(split.name for split in self.splits)


def _pairs(split: Split) -> Iterator[tuple[int, int]]:
    """(index in the source, label) of each image, without a list of all of them."""
    labels = split.labels
    for first in range(0, len(split), _BLOCK):
        part = slice(first, first + _BLOCK)
        yield from zip(split.indices[part].tolist(), labels[part].tolist(), strict=True)


def open_dataset(
    source: str | Path,
    seed: int = 0,
    *,
    channels: int | None = None,
    cache: str = "ram",
    cache_gib: float | None = None,
    cache_folder: str | Path | None = None,
    folds: int | None = None,
    fold: int | None = None,
) -> ImageDataset:
    """Open labelled images. No image is decoded.

    Args:
        source: "digits"; a folder, ``class/*.jpg`` or ``train|val|test/class/*.jpg``; a manifest
            (.csv, .tsv or .parquet); "hf:..." or "wds:..." (see :func:`open_source`).
        seed: decides the splits where the source does not. Digits have one split for everybody.
        channels: 1 (grey) or 3 (RGB); None for the source's own.
        cache: where decoded images are kept: "ram", "disk" or "none". It changes no number.
        cache_gib: how much of it, in GiB; None: in memory one, or an eighth of the machine's; on
            disk half of what is free.
        cache_folder: of the disk cache, which later runs on the same data find again.
        folds: divide train and val into so many folds, by the seed; test is as without.
        fold: which of them is val, from 0.

    Raises:
        VertebraError: nothing usable is there; the message says what was expected.
    """
    opened = open_source(source)
    channels = channels or opened.native_channels
    parts, notes = divide(opened, seed, folds, fold)
    kept = _cache(opened, channels, cache, cache_gib, cache_folder)
    splits = {
        name: Split(name, opened, indices, channels, kept)
        for name, indices in parts.items()
        if len(indices)
    }
    return ImageDataset(
        source=opened,
        channels=channels,
        train=splits["train"],
        val=splits.get("val"),
        test=splits.get("test"),
        skipped=(),
        notes=(*opened.notes, *notes),
    )


def _cache(
    source: Source, channels: int, kind: str, gib: float | None, folder: str | Path | None
) -> Cache:
    if source.name == "digits" and kind in ("ram", "disk"):
        return NoCache()  # they are in memory already

    def version() -> str:
        digest = hashlib.sha256(f"{decoders()}\n".encode())
        for index in range(len(source.ids)):
            digest.update(source.version(index).encode() + b"\n")
        return digest.hexdigest()

    limit = None if gib is None else int(gib * 2**30)
    where = None if folder is None else Path(folder)
    key = source.name, version
    return open_cache(kind, limit, where, key, count=len(source.ids), channels=channels)


def find_broken(
    source: Source, channels: int, progress: Callable[[int, int], None] | None = None
) -> tuple[Skipped, ...]:
    """Decode every image once; those that cannot be, in order. Threads share the cores.

    ``progress`` is called with (checked, total).
    """

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
