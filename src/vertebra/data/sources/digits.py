"""scikit-learn's handwritten digits: 1 797 real scans that ship with the library."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vertebra.data.sources.names import PackedNames

SIZE = 32


@dataclass(frozen=True, eq=False)
class DigitsSource:
    """The test part of UCI's Optical Recognition of Handwritten Digits (Alpaydin, Kaynak, 1998).

    8x8 pixels of 17 grey levels, scaled to uint8 and resized bilinearly to 32x32. The 13 writers
    are not named, so they are shared between the splits: accuracy on a new hand is lower.
    """

    images: Tensor
    labels: NDArray[np.int64]
    ids: PackedNames
    classes: tuple[str, ...] = tuple("0123456789")
    given: None = None
    groups: None = None
    shards: None = None
    notes: tuple[str, ...] = ("the writers are shared between the splits",)
    native_size: int = SIZE
    native_channels: int = 1
    name: str = "digits"

    def read(self, index: int, channels: int) -> Tensor:
        """Image ``index`` as uint8 (channels, 32, 32); three channels are three times the grey."""
        return self.images[index].expand(channels, -1, -1).clone()

    def encoded(self, index: int) -> None:
        """None: there are no files."""

    def place(self, index: int) -> str:
        """Its number."""
        return self.ids[index]

    def stamp(self, index: int) -> str:
        """A hash of the pixels."""
        return hashlib.sha256(self.images[index].numpy().tobytes()).hexdigest()

    version = stamp


@functools.cache
def open_digits() -> DigitsSource:
    """Load the digits; needs no network."""
    # Imported here: scikit-learn takes two seconds, and only this source needs it.
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = torch.from_numpy(digits.images).to(torch.float32)[:, None] * (255 / 16)
    resized = F.interpolate(grey, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    return DigitsSource(
        images=resized.round().clamp(0, 255).to(torch.uint8),
        labels=digits.target.astype(np.int64),
        ids=PackedNames.of(f"{index:04d}" for index in range(len(digits.target))),
    )
