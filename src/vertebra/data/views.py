"""What a worker does: from places in a split to a batch of pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from vertebra.core import Preprocessing, VertebraError, address, rng
from vertebra.data.augment import scaled_augmentation
from vertebra.data.card import Skipped
from vertebra.data.dataset import Split
from vertebra.data.decode import DecodeError
from vertebra.data.transforms import augmentation, prepare
from vertebra.runs.recipe import AugmentSection

# Broken files in a row, drawn at random, after which the data is to blame and not the files.
MOST_REPLACEMENTS = 20

Made = TypeVar("Made")
Transform = Callable[[Tensor | bytes, str], Tensor]


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
    """Images by the place that was asked for, decoded or as files, and the place that each is of.

    ``broken``: what could not be read so far, by its id.
    """

    images: dict[int, Tensor | bytes]
    shown: dict[int, int]
    broken: dict[str, Skipped]


@dataclass(frozen=True)
class Failure:
    """An error that a worker hands over, since one that it raises comes with its traceback."""

    message: str


class TrainingView(Dataset[Batch]):
    """Batches of augmented images.

    ``decode`` "full": files are decoded first, perhaps in another thread or from a cache, and then
    augmented. "scaled": what is drawn for an image decides how its file is decoded.
    """

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing,
        augment: AugmentSection,
        seed: int,
        sizes: tuple[int, ...],
        decode: str = "full",
    ) -> None:
        self.split, self.seed, self.sizes, self.decode = split, seed, sizes, decode
        self.preprocessing, self.section = preprocessing, augment
        self.labels = torch.from_numpy(split.labels)
        self._transforms: dict[int, Transform] = {}

    def __getitems__(self, request: Request) -> Batch | Failure:
        try:
            return self.augment(request, self.read(request))
        except VertebraError as error:
            return Failure(str(error))

    def read(self, request: Request) -> Pixels:
        """The images or files; draws nothing shared, so it may run in another thread.

        Raises:
            VertebraError: too many files in a row cannot be decoded.
        """
        pixels = Pixels({}, {}, {})
        for place in request.places.tolist():
            if place not in pixels.images:  # a repeat is read once
                found = self._first_good(place, request.epoch, pixels.broken, self._read)
                pixels.images[place], pixels.shown[place] = found
        return pixels

    def _read(self, place: int) -> Tensor | bytes:
        content = self.split.encoded(place) if self.decode == "scaled" else None
        return self.split.read(place) if content is None else content

    def _first_good(
        self,
        place: int,
        epoch: int,
        broken: dict[str, Skipped],
        make: Callable[[int], Made],
    ) -> tuple[Made, int]:
        """What ``make`` makes of ``place``, or of another in its stead, and which one it is."""
        wanted, last = self.split.id(place), ""
        for attempt in range(MOST_REPLACEMENTS + 1):
            if attempt:
                draw = rng(self.seed, "replacement", epoch, wanted, attempt)
                place = int(draw.integers(len(self.split)))
            name = self.split.id(place)
            if name in broken:
                last = f"{name}: {broken[name].reason}"
                continue
            try:
                return make(place), place
            except DecodeError as error:
                broken[name] = Skipped(name, error.reason)
                last = str(error)
        raise VertebraError(
            f"too many files of {self.split.source.name} cannot be decoded: "
            f"{MOST_REPLACEMENTS} drawn in place of {wanted} failed too, the last with {last}"
        )

    def augment(self, request: Request, pixels: Pixels) -> Batch:
        """The batch. Leaves the global generator, which transforms v2 draws from, as it was.

        Raises:
            VertebraError: too many files in a row cannot be decoded.
        """
        views, shown = [], []
        state = torch.get_rng_state()
        try:
            for place, repeat in zip(
                request.places.tolist(), request.repeats.tolist(), strict=True
            ):
                view, which = self._view(place, repeat, request.epoch, pixels)
                views.append(view)
                shown.append(which)
        finally:
            torch.set_rng_state(state)
        broken = tuple(pixels.broken.values())
        return Batch(
            torch.stack(views), self.labels[shown], torch.from_numpy(request.places), broken
        )

    def _view(self, place: int, repeat: int, epoch: int, pixels: Pixels) -> tuple[Tensor, int]:
        """One augmented image, and the place that it is of."""
        transform = self._transform(epoch)
        # Each image has its own place in the generator; one that stands in has the other's.
        at = address(self.seed, "augment", epoch, self.split.id(place), repeat)

        def augmented(which: int) -> Tensor:
            ahead = which == pixels.shown[place]
            image = pixels.images[place] if ahead else self._read(which)
            torch.default_generator.manual_seed(at)
            return transform(image, self.split.id(which))

        if isinstance(pixels.images[place], Tensor):
            return augmented(pixels.shown[place]), pixels.shown[place]
        return self._first_good(place, epoch, pixels.broken, augmented)

    def _transform(self, epoch: int) -> Transform:
        own = self.preprocessing
        size = self.sizes[min(epoch, len(self.sizes) - 1)] if self.sizes else own.size
        if size not in self._transforms:
            fitting = own if size == own.size else own.for_size(size)
            self._transforms[size] = self._made(fitting)
        return self._transforms[size]

    def _made(self, preprocessing: Preprocessing) -> Transform:
        whole = augmentation(self.section, preprocessing)
        if self.decode == "full":
            return lambda image, _name: whole(cast("Tensor", image))
        of_file = scaled_augmentation(self.section, preprocessing, self.split.channels)

        def transform(image: Tensor | bytes, name: str) -> Tensor:
            return whole(image) if isinstance(image, Tensor) else of_file(image, name)

        return transform

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
