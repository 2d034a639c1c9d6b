"""A source whose images can be told in a batch, and batches as most tests want them."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vertebra.core import Preprocessing
from vertebra.data import Batch, DecodeError, Sampling, Split, training_batches
from vertebra.runs.recipe import AugmentSection

TINY = Preprocessing(size=4, resize=4, mean=(0.5,), std=(0.25,))
PLAIN = AugmentSection(crop="none")


class Numbered:
    """Every image is all of one value, its own number; some may be ``broken``."""

    name = "numbered"
    given = None
    groups = None
    notes = ()
    native_size = None
    native_channels = 1

    def __init__(
        self,
        count: int,
        broken: frozenset[int] = frozenset(),
        labels: NDArray[np.int64] | None = None,
        shards: NDArray[np.int32] | None = None,
    ) -> None:
        self.ids = [f"{index:03d}" for index in range(count)]
        self.labels = np.arange(count, dtype=np.int64) % 2 if labels is None else labels
        self.classes = tuple(f"class {label}" for label in range(int(self.labels.max()) + 1))
        self.broken, self.shards = broken, shards

    def read(self, index: int, channels: int) -> Tensor:
        if index in self.broken:
            raise DecodeError(self.ids[index], "torn")
        return torch.full((channels, 4, 4), index, dtype=torch.uint8)

    def encoded(self, index: int) -> None:
        return None

    def stamp(self, index: int) -> str:
        return self.ids[index]

    version = stamp


def numbered(count: int, **options: Any) -> Split:
    return Split("train", Numbered(count, **options), np.arange(count), 1)


def numbers(batches: list[Batch]) -> list[list[int]]:
    """What the images of each batch show."""
    return [batch.images[:, 0, 0, 0].tolist() for batch in batches]


def flat(lists: Iterable[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(lists))


def whole_batches(
    split: Split,
    preprocessing: Preprocessing,
    section: AugmentSection,
    batch_size: int,
    seed: int,
    workers: int = 0,
) -> Callable[..., Iterator[Batch]]:
    """Batches of one process, uncut, with the defaults of everything else."""
    made = training_batches(split, preprocessing, section, Sampling(batch_size), seed, workers)

    def run(epoch: int, first: int = 0) -> Iterator[Batch]:
        for (batch,) in made(epoch, first):
            yield batch

    return run


def plain_epoch(
    split: Split, sampling: Sampling, seed: int = 0, epoch: int = 0, **options: Any
) -> list[list[Batch]]:
    """One epoch of images that are not augmented, by steps and micro-batches."""
    return list(training_batches(split, TINY, PLAIN, sampling, seed, **options)(epoch))


def equal(one: list[Batch], other: list[Batch]) -> bool:
    """Whether all batches are, to the last bit."""
    return len(one) == len(other) and all(
        torch.equal(a.images, b.images)
        and torch.equal(a.labels, b.labels)
        and torch.equal(a.places, b.places)
        and a.broken == b.broken
        for a, b in zip(one, other, strict=True)
    )
