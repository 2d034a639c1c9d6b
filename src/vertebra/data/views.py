"""What a worker does: from places in a split to a batch of pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from vertebra.core import Preprocessing, VertebraError, address, rng
from vertebra.data.card import Skipped
from vertebra.data.dataset import Split
from vertebra.data.decode import DecodeError
from vertebra.data.transforms import augmentation, prepare
from vertebra.runs.recipe import AugmentSection

# Broken files in a row, drawn at random, after which the data is to blame and not the files.
MOST_REPLACEMENTS = 20


@dataclass(frozen=True)
class Batch:
    """Some images of a split.

    Attributes:
        images: uint8 (N, C, H, W).
        labels: int64 (N,), of the images that are shown.
        places: int64 (N,), in the split, of the images that were asked for.
        broken: what could not be decoded. In training another image stands in its place.
    """

    images: Tensor
    labels: Tensor
    places: Tensor
    broken: tuple[Skipped, ...] = ()

    def pin_memory(self) -> Batch:
        """The same in memory that a GPU reads by itself; the loader asks for it."""
        images, labels = self.images.pin_memory(), self.labels.pin_memory()
        return replace(self, images=images, labels=labels)


class Request(NamedTuple):
    """What a training batch shall show: places in the split, and each one's repeat."""

    epoch: int
    places: NDArray[np.int64]
    repeats: NDArray[np.int64]


class Pixels(NamedTuple):
    """Decoded images by the place that was asked for, and the place that each is of."""

    images: dict[int, Tensor]
    shown: dict[int, int]
    broken: tuple[Skipped, ...]


@dataclass(frozen=True)
class Failure:
    """An error that a worker hands over, since one that it raises comes with its traceback."""

    message: str


class TrainingView(Dataset[Batch]):
    """Batches of augmented images."""

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing,
        augment: AugmentSection,
        seed: int,
        sizes: tuple[int, ...],
    ) -> None:
        self.split, self.seed, self.sizes = split, seed, sizes
        self.preprocessing, self.section = preprocessing, augment
        self.labels = torch.from_numpy(split.labels)
        self._transforms: dict[int, Callable[[Tensor], Tensor]] = {}

    def __getitems__(self, request: Request) -> Batch | Failure:
        try:
            return self.augment(request, self.read(request))
        except VertebraError as error:
            return Failure(str(error))

    def read(self, request: Request) -> Pixels:
        """The decoded images; draws nothing shared, so it may run in another thread.

        Raises:
            VertebraError: too many files in a row cannot be decoded.
        """
        images, shown = {}, {}
        broken: dict[str, Skipped] = {}
        for place in request.places.tolist():
            if place not in images:  # a repeat is decoded once
                images[place], shown[place] = self._read(place, request.epoch, broken)
        return Pixels(images, shown, tuple(broken.values()))

    def _read(self, place: int, epoch: int, broken: dict[str, Skipped]) -> tuple[Tensor, int]:
        """The image at ``place``, or at another in its stead, and which one it is."""
        wanted = self.split.id(place)
        for attempt in range(MOST_REPLACEMENTS + 1):
            if attempt:
                draw = rng(self.seed, "replacement", epoch, wanted, attempt)
                place = int(draw.integers(len(self.split)))
            try:
                return self.split.read(place), place
            except DecodeError as error:
                name = self.split.id(place)
                broken[name] = Skipped(name, error.reason)
                last = error
        raise VertebraError(
            f"too many files of {self.split.source.name} cannot be decoded: "
            f"{MOST_REPLACEMENTS} drawn in place of {wanted} failed too, the last with {last}"
        )

    def augment(self, request: Request, pixels: Pixels) -> Batch:
        """The batch. Leaves the global generator, which transforms v2 draws from, as it was."""
        transform = self._transform(request.epoch)
        places = request.places.tolist()
        state = torch.get_rng_state()
        try:
            views = []
            for place, repeat in zip(places, request.repeats.tolist(), strict=True):
                # Each image has its own place in the generator.
                at = address(self.seed, "augment", request.epoch, self.split.id(place), repeat)
                torch.default_generator.manual_seed(at)
                views.append(transform(pixels.images[place]))
        finally:
            torch.set_rng_state(state)
        labels = self.labels[[pixels.shown[place] for place in places]]
        return Batch(torch.stack(views), labels, torch.from_numpy(request.places), pixels.broken)

    def _transform(self, epoch: int) -> Callable[[Tensor], Tensor]:
        own = self.preprocessing
        size = self.sizes[min(epoch, len(self.sizes) - 1)] if self.sizes else own.size
        if size not in self._transforms:
            fitting = own if size == own.size else own.for_size(size)
            self._transforms[size] = augmentation(self.section, fitting)
        return self._transforms[size]

    def __getstate__(self) -> dict[str, Any]:
        # Transforms are closures, which cannot be sent to a process; they are made again there.
        return {**self.__dict__, "_transforms": {}}


class EvaluationView(Dataset[Batch]):
    """Batches in the order of the split."""

    def __init__(self, split: Split, preprocessing: Preprocessing) -> None:
        self.split = split
        self.preprocessing = preprocessing
        self.labels = torch.from_numpy(split.labels)

    def __getitems__(self, places: Sequence[int]) -> Batch | Failure:
        images, found, broken = [], [], []
        try:
            for place in places:
                try:
                    images.append(prepare(self.split.read(place), self.preprocessing))
                    found.append(place)
                except DecodeError as error:
                    broken.append(Skipped(self.split.id(place), error.reason))
        except VertebraError as error:
            return Failure(str(error))
        size = self.preprocessing.size
        empty = torch.empty((0, self.split.channels, size, size), dtype=torch.uint8)
        places_found = torch.tensor(found, dtype=torch.int64)
        return Batch(
            torch.stack(images) if images else empty,
            self.labels[places_found],
            places_found,
            tuple(broken),
        )
