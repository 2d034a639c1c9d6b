"""Batches by address: who is in a batch depends on seed and epoch, how an image is augmented on
seed, epoch and its own name. So any number of workers, and a start in mid-epoch, give the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vertebra.core import Preprocessing, address, rng
from vertebra.data.dataset import Split
from vertebra.data.decode import DecodeError
from vertebra.data.transforms import augmentation, prepare
from vertebra.runs.recipe import AugmentSection

Batch = tuple[Tensor, Tensor]  # images uint8 (N, C, H, W), labels int64 (N,)
Items = list[tuple[int, int]]  # (epoch, place in the split)


def steps_per_epoch(samples: int, batch_size: int) -> int:
    """Batches in an epoch: full ones only, but at least one.

    A short last batch would weigh its images more and give batch norm poor statistics; the order
    changes every epoch, so no image is left out for good.
    """
    return max(1, samples // batch_size)


class _TrainingView(Dataset[Batch]):
    """Whole batches of augmented images; an item is asked for as (epoch, place)."""

    def __init__(
        self, split: Split, preprocessing: Preprocessing, augment: AugmentSection, seed: int
    ) -> None:
        self.split = split
        self.seed = seed
        self.labels = torch.from_numpy(split.labels)
        self.transform = augmentation(augment, preprocessing)

    def __getitems__(self, items: Items) -> Batch | DecodeError:
        return self.augment(items, self.read(items))

    def read(self, items: Items) -> list[Tensor] | DecodeError:
        """The decoded images; draws nothing, so it may run in another thread."""
        try:
            return [self.split.read(place) for _, place in items]
        except DecodeError as error:
            return error

    def augment(self, items: Items, images: list[Tensor] | DecodeError) -> Batch | DecodeError:
        """The batch. Leaves the global generator, which transforms v2 draws from, as it was."""
        if isinstance(images, DecodeError):
            return images
        state = torch.get_rng_state()
        try:
            views = [self._view(*item, image) for item, image in zip(items, images, strict=True)]
        finally:
            torch.set_rng_state(state)
        return torch.stack(views), self.labels[[place for _, place in items]]

    def _view(self, epoch: int, place: int, image: Tensor) -> Tensor:
        # Each image has its own place in the generator.
        seed = address(self.seed, "augment", epoch, self.split.id(place), 0)
        torch.default_generator.manual_seed(seed)
        return self.transform(image)


class _EvaluationView(Dataset[Batch]):
    """Whole batches in the order of the split."""

    def __init__(self, split: Split, preprocessing: Preprocessing) -> None:
        self.split = split
        self.preprocessing = preprocessing
        self.labels = torch.from_numpy(split.labels)

    def __getitems__(self, places: list[int]) -> Batch | DecodeError:
        try:
            images = [prepare(self.split.read(place), self.preprocessing) for place in places]
        except DecodeError as error:
            return error
        return torch.stack(images), self.labels[places]


def epoch_order(samples: int, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """The places in each batch of one epoch."""
    order = rng(seed, "order", epoch).permutation(samples).tolist()
    count = steps_per_epoch(samples, batch_size)
    return [order[step * batch_size : (step + 1) * batch_size] for step in range(count)]


class _Epoch:
    """The batch sampler of one epoch at a time; ``at`` moves it, also into the middle of one."""

    def __init__(self, samples: int, batch_size: int, seed: int) -> None:
        self.samples, self.batch_size, self.seed = samples, batch_size, seed
        self.epoch, self.first = 0, 0

    def at(self, epoch: int, first: int) -> None:
        self.epoch, self.first = epoch, first

    def __iter__(self) -> Iterator[Items]:
        batches = epoch_order(self.samples, self.batch_size, self.seed, self.epoch)
        for places in batches[self.first :]:
            yield [(self.epoch, place) for place in places]


class training_batches:  # noqa: N801 - reads as the iterable that it is
    """Augmented batches, epoch by epoch.

    Calling it with an epoch, and the number of its batches to pass over, iterates over the rest.
    Worker processes, where there are any, live on between epochs.
    """

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing,
        augment: AugmentSection,
        batch_size: int,
        seed: int,
        workers: int = 0,
    ) -> None:
        self._view = _TrainingView(split, preprocessing, augment, seed)
        self._sampler = _Epoch(len(split), batch_size, seed)
        self._loader = _loader(self._view, self._sampler, workers) if workers else None

    def __call__(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """Batches ``first``, ``first + 1``, ... of ``epoch``."""
        self._sampler.at(epoch, first)
        if self._loader is None:
            return _unbroken(_reading_ahead(self._view, self._sampler))
        return _unbroken(self._loader)


def evaluation_batches(
    split: Split, preprocessing: Preprocessing, batch_size: int, workers: int = 0
) -> Iterator[Batch]:
    """Every image of the split once, in order, without augmentation."""
    places = list(range(len(split)))
    batches = [places[i : i + batch_size] for i in range(0, len(places), batch_size)]
    return _unbroken(_loader(_EvaluationView(split, preprocessing), batches, workers))


def _reading_ahead(view: _TrainingView, batches: Iterable[Items]) -> Iterator[Batch | DecodeError]:
    """Without workers: decode the next batch in a thread while this one is learnt from.

    Only decoding is done ahead. Augmentation draws from a generator that all threads share.
    """
    with ThreadPoolExecutor(1) as pool:
        waiting: tuple[Items, Future[list[Tensor] | DecodeError]] | None = None
        for items in batches:
            following = items, pool.submit(view.read, items)
            if waiting is not None:
                yield view.augment(waiting[0], waiting[1].result())
            waiting = following
        if waiting is not None:
            yield view.augment(waiting[0], waiting[1].result())


def _unbroken(loader: Iterable[Batch | DecodeError]) -> Iterator[Batch]:
    """Raise here what a worker met: raised there, it would come with the worker's traceback."""
    for item in loader:
        if isinstance(item, DecodeError):
            raise item
        yield item


def _loader(view: Dataset[Batch], batches: object, workers: int) -> DataLoader[Batch]:
    return DataLoader(
        view,
        batch_sampler=cast("torch.utils.data.Sampler[list[int]]", batches),
        collate_fn=_as_it_is,
        num_workers=workers,
        persistent_workers=workers > 0 and isinstance(batches, _Epoch),
        worker_init_fn=_ignore_interrupts if workers else None,
        pin_memory=torch.cuda.is_available(),
        # Without this the loader draws a seed for its workers from the caller's generator.
        generator=torch.Generator(),
    )


def _as_it_is(batch: Any) -> Any:
    return batch


def _ignore_interrupts(_worker: int) -> None:
    """Ctrl-C is the main process's to answer: it finishes its step and then stops the workers."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
