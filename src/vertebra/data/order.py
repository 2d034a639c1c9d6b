"""Which images an epoch shows, in which order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from vertebra.core import VertebraError, rng
from vertebra.data.sources.source import Source

# Shards that are shuffled into each other: read by turns, each from front to back they are not, but
# they are few enough to stay in the cache of the file system.
SHARD_WINDOW = 8


@dataclass(frozen=True)
class Sampling:
    """How an epoch is drawn.

    Attributes:
        batch_size: images of one step of the optimiser, over all ranks and micro-batches.
        balanced: classes equally often, to within one image. The images of a class are drawn with
            replacement, and the epoch is as long as it would be.
        repeats: repeated augmentation (Hoffer et al., 2019, arXiv 1901.09335): each image so many
            times in a row, augmented anew. An epoch is as long as it would be and sees 1/repeats
            of the images. Where ``batch_size`` is no multiple, some are parted by a batch's end.
        short_batch: whether the last batch of an epoch, if it is not full, is left out or shown.
    """

    batch_size: int
    balanced: bool = False
    repeats: int = 1
    short_batch: Literal["drop", "keep"] = "drop"

    def __post_init__(self) -> None:
        for name in ("batch_size", "repeats"):
            if getattr(self, name) < 1:
                raise VertebraError(f"{name} is at least 1, got {getattr(self, name)}")


class Samples(Protocol):
    """What an order needs to know of a split."""

    @property
    def source(self) -> Source:
        """Where the samples come from."""

    @property
    def indices(self) -> NDArray[np.int64]:
        """Their indices in the source (n,)."""


@dataclass(frozen=True)
class EpochOrder:
    """The batches of one epoch: ``order[step]`` are the places in the split and the repeats.

    ``places`` (n,) int64 one after the other. ``repeats`` as in :class:`Sampling`.
    """

    places: NDArray[np.int64]
    batch_size: int
    repeats: int
    steps: int

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places and repeats, int64 of the batch's size each."""
        if not 0 <= step < self.steps:
            raise IndexError("no such step")
        first = step * self.batch_size
        places = self.places[first : first + self.batch_size]
        return places, np.arange(first, first + len(places)) % self.repeats


def steps_per_epoch(samples: int, sampling: Sampling) -> int:
    """Steps of the optimiser in an epoch of ``samples`` images, one at least.

    A short last batch is dropped by default: it would weigh its images more and give batch norm
    poor statistics. The order changes every epoch, so no image is left out for good.
    """
    if sampling.short_batch == "keep":
        return max(1, -(-samples // sampling.batch_size))
    return max(1, samples // sampling.batch_size)


def epoch_order(split: Samples, sampling: Sampling, seed: int, epoch: int) -> EpochOrder:
    """The order of one epoch: a function of seed and epoch and of who is in the split.

    A permutation; by classes where ``sampling`` asks for it (``shards`` do not matter then); for
    samples in shards, the shards are shuffled and then the samples of a few shards at a time, so
    that a disk reads nearly from front to back.
    """
    generator = rng(seed, "order", epoch)
    samples = len(split.indices)
    if sampling.balanced:
        places = _balanced(split.source.labels[split.indices], generator)
    elif split.source.shards is not None:
        places = _by_shards(split.source.shards[split.indices], generator)
    else:
        places = generator.permutation(samples)
    if sampling.repeats > 1:
        places = np.repeat(places[: -(-samples // sampling.repeats)], sampling.repeats)[:samples]
    steps = steps_per_epoch(samples, sampling)
    return EpochOrder(places, sampling.batch_size, sampling.repeats, steps)


def _balanced(labels: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """As many places as there are labels; the classes that occur, by turns in random order."""
    members = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    present = np.flatnonzero(counts)
    # The start is random, or the first classes would get what is left over in every epoch.
    turns = np.arange(len(labels)) + generator.integers(len(present))
    drawn = generator.permutation(present[turns % len(present)])
    places: NDArray[np.int64] = members[starts[drawn] + generator.integers(counts[drawn])]
    return places


def _by_shards(shards: NDArray[np.int32], generator: np.random.Generator) -> NDArray[np.int64]:
    numbers, members = np.unique(shards, return_inverse=True)
    window = generator.permutation(len(numbers)) // SHARD_WINDOW
    order: NDArray[np.int64] = np.lexsort((generator.random(len(shards)), window[members]))
    return order
