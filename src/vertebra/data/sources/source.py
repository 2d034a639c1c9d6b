"""What every source of images offers, however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vertebra.core import VertebraError

SPLITS = ("train", "val", "test")
# What a split may be called, by folders, columns, files and datasets.
SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
)


class Source(Protocol):
    """Where N labelled images come from. Opening one decodes nothing.

    Nothing in it is a Python object an image, so that a million images fit and a forked worker
    copies none of it. What cannot be decoded is met when it is read.
    """

    @property
    def name(self) -> str:
        """What the source is called in messages and cards; no two sources share one."""

    @property
    def ids(self) -> Sequence[str]:
        """Stable names of the images (N), unique."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices (N,)."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the labels."""

    @property
    def given(self) -> NDArray[np.int8] | None:
        """The split of each image (N,) as an index into ``SPLITS``; None: the source has none."""

    @property
    def groups(self) -> NDArray[np.int32] | None:
        """The group of each image (N,), as of one patient or one video; None: there are none.

        Images of a group are never on both sides of a split that is made here.
        """

    @property
    def shards(self) -> NDArray[np.int32] | None:
        """The file that each image lies in (N,), where that is to be read from front to back."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was passed over and the like, a sentence each."""

    @property
    def native_size(self) -> int | None:
        """Pixels of a side, where all images are squares of one size."""

    @property
    def native_channels(self) -> int:
        """Channels of the images, where nothing else is asked for."""

    def read(self, index: int, channels: int) -> Tensor:
        """Image ``index`` as uint8 (channels, H, W), the caller's own.

        Raises:
            DecodeError: it cannot be decoded.
        """

    def encoded(self, index: int) -> bytes | None:
        """The file's bytes as they are; None where there is no file, or no such file any more."""

    def place(self, index: int) -> str:
        """Where the image lies: two sources that hold one and the same file name one place."""

    def stamp(self, index: int) -> str:
        """What the fingerprint takes from an image: its name and, roughly, its content."""

    def version(self, index: int) -> str:
        """The stamp and what changes when the content does, for caches.

        A time of writing, say: not for fingerprints, since a copy of the data has another.
        """


@dataclass(frozen=True, eq=False, kw_only=True)
class Listing:
    """The fields that sources of encoded images share; see :class:`Source`."""

    name: str
    ids: Sequence[str]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    given: NDArray[np.int8] | None = None
    groups: NDArray[np.int32] | None = None
    shards: NDArray[np.int32] | None = None
    notes: tuple[str, ...] = ()
    native_size: int | None = None
    native_channels: int = 3


def split_code(name: str) -> int | None:
    """Index into ``SPLITS`` of what a split may be called, in any case; None for other words."""
    found = SPLIT_NAMES.get(name.lower())
    return None if found is None else SPLITS.index(found)


def check_classes(classes: Sequence[str], trained: NDArray[np.int64], place: str | Path) -> None:
    """Refuse what no classifier can be trained on; ``trained`` are the labels of training images.

    Raises:
        VertebraError: a class has no images to train on, or there is only one class.
    """
    counts = np.bincount(trained, minlength=len(classes))
    for name, count in zip(classes, counts.tolist(), strict=True):
        if count == 0:
            raise VertebraError(f"class '{name}' in {place} has no images to train on")
    if len(classes) == 1:
        raise VertebraError(f"{place} has only one class, '{classes[0]}'; a classifier needs two")


def trained_labels(labels: NDArray[np.int64], given: NDArray[np.int8] | None) -> NDArray[np.int64]:
    """The labels of the images that can be trained on: all, or those of the train split."""
    return labels if given is None else labels[given == SPLITS.index("train")]


def refuse_unlistable(error: OSError) -> NoReturn:
    """A folder or file passed over would be images missing without a word.

    Raises:
        VertebraError: always.
    """
    raise VertebraError(f"cannot read {error.filename}: {error.strerror}") from None


def check_named(names: list[str], place: Path) -> list[str]:
    """``names``, if each is there once.

    Raises:
        VertebraError: one is there twice.
    """
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise VertebraError(f"{place} has the class '{twice[0]}' twice")
    return names


def check_groups(
    groups: NDArray[np.int32] | None,
    given: NDArray[np.int8] | None,
    words: Sequence[str],
    place: str | Path,
) -> None:
    """Refuse a group on both sides of splits that the source gives; ``words`` name the groups.

    Raises:
        VertebraError: there is one.
    """
    if groups is None or given is None:
        return
    pairs = np.unique(groups.astype(np.int64) * len(SPLITS) + given)
    numbers = pairs // len(SPLITS)
    torn = np.flatnonzero(numbers[1:] == numbers[:-1])
    if len(torn):
        one, other = (SPLITS[int(pairs[at]) % len(SPLITS)] for at in (torn[0], torn[0] + 1))
        name = words[int(numbers[torn[0]])]
        raise VertebraError(
            f"group '{name}' of {place} is in {one} and in {other}; a group stays together"
        )
