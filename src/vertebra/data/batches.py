"""Batches by address: who is in a batch depends on seed and epoch, how an image is augmented on
seed, epoch and its own name. So any number of workers and of ranks, and a start in mid-epoch, give
the same.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from vertebra.core import Preprocessing, VertebraError
from vertebra.data.dataset import Split
from vertebra.data.order import Sampling, epoch_order, steps_per_epoch
from vertebra.data.views import Batch, EvaluationView, Failure, Pixels, Request, TrainingView
from vertebra.runs.recipe import AugmentSection

# A signal's handler is not told who sent it; a thread that waits for one is, where there is this.
_TELLS_SENDER = hasattr(signal, "sigwaitinfo")


class _Epoch:
    """The micro-batches of one epoch at a time on one rank; ``at`` moves it, also into the middle.

    As a batch sampler it gives the loader one micro-batch after the other.
    """

    def __init__(
        self, split: Split, sampling: Sampling, seed: int, rank: int, world: int, most: int | None
    ) -> None:
        self.split, self.sampling, self.seed = split, sampling, seed
        self.rank, self.world, self.most = rank, world, most
        self.epoch, self.first = 0, 0

    def at(self, epoch: int, first: int) -> None:
        self.epoch, self.first = epoch, first

    def steps(self) -> Iterator[list[Request]]:
        """The micro-batches of each step that is left."""
        order = epoch_order(self.split, self.sampling, self.seed, self.epoch)
        for step in range(self.first, len(order)):
            places, repeats = order[step]
            own = _share(len(places), self.rank, self.world)
            yield list(self._cut(places[own], repeats[own]))

    def counts(self) -> Iterator[int]:
        """How many micro-batches each step that is left has."""
        samples, size = len(self.split), self.sampling.batch_size
        for step in range(self.first, steps_per_epoch(samples, self.sampling)):
            own = _share(min(size, samples - step * size), self.rank, self.world)
            count = own.stop - own.start
            yield -(-count // (self.most or max(count, 1)))

    def _cut(self, places: NDArray[np.int64], repeats: NDArray[np.int64]) -> Iterator[Request]:
        size = self.most or max(len(places), 1)
        for first in range(0, len(places), size):
            part = slice(first, first + size)
            yield Request(self.epoch, places[part], repeats[part])

    def __iter__(self) -> Iterator[Request]:
        for requests in self.steps():
            yield from requests


class training_batches:  # noqa: N801 - reads as the iterable that it is
    """Augmented batches, epoch by epoch.

    Calling it with an epoch, and the number of its steps to pass over, iterates over the rest: one
    list for each step of the optimiser, its micro-batches on this rank. Worker processes, where
    there are any, live on between epochs.

    Args:
        split: the images.
        preprocessing: the size of the images, and what the evaluation will do with them.
        augment: how they are augmented.
        sampling: who is in an epoch and in a batch.
        seed: of order and augmentation.
        workers: processes that decode and augment; with none, a thread decodes ahead.
        sizes: pixels of a side in each epoch (the last one's in all after it); empty: always those
            of ``preprocessing``.
        rank: which part of each batch: a contiguous one, as long as the others to within one image.
        world: how many parts. The batches as wholes are the same for any number.
        micro_batch: images that a micro-batch has at most; None: the part is not cut. At the end
            of an epoch a rank may have one fewer than another, and none of a short batch that has
            fewer images than there are ranks.

        decode: "full" or "scaled", see :class:`~vertebra.data.views.TrainingView`.

    Raises:
        VertebraError: a batch has fewer images than there are ranks.

    A file that cannot be decoded is replaced by another image, at a fixed random address, with that
    image's label, and told of in :attr:`Batch.broken`. So a batch has always its size.
    """

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing,
        augment: AugmentSection,
        sampling: Sampling,
        seed: int,
        workers: int = 0,
        sizes: Sequence[int] = (),
        rank: int = 0,
        world: int = 1,
        micro_batch: int | None = None,
        decode: str = "full",
    ) -> None:
        smallest = min(sampling.batch_size, len(split))
        if smallest < world:
            raise VertebraError(
                f"a batch of {smallest} images cannot be divided between {world} processes"
            )
        self._view = TrainingView(split, preprocessing, augment, seed, tuple(sizes), decode)
        self._epoch = _Epoch(split, sampling, seed, rank, world, micro_batch)
        self._loader = _loader(self._view, self._epoch, workers) if workers else None

    def __call__(self, epoch: int, first: int = 0) -> Iterator[list[Batch]]:
        """The micro-batches of step ``first``, ``first + 1``, ... of ``epoch``."""
        self._epoch.at(epoch, first)
        if self._loader is None:
            return _reading_ahead(self._view, self._epoch.steps())
        return _grouped(_unbroken(self._loader), self._epoch.counts())


def evaluation_batches(
    split: Split,
    preprocessing: Preprocessing,
    batch_size: int,
    workers: int = 0,
    rank: int = 0,
    world: int = 1,
) -> Iterator[Batch]:
    """Every image of the split once, in order, without augmentation.

    Of ``world`` ranks each gets a contiguous part. Images that cannot be decoded are left out and
    told of in :attr:`Batch.broken`; a batch may hold none at all then.
    """
    own = _share(len(split), rank, world)
    batches = [
        range(first, min(first + batch_size, own.stop))
        for first in range(own.start, own.stop, batch_size)
    ]
    return _unbroken(_loader(EvaluationView(split, preprocessing), batches, workers))


def _share(samples: int, rank: int, world: int) -> slice:
    return slice(samples * rank // world, samples * (rank + 1) // world)


def _reading_ahead(view: TrainingView, steps: Iterable[list[Request]]) -> Iterator[list[Batch]]:
    """Without workers: decode the next step in a thread while this one is learnt from.

    Only decoding is done ahead. Augmentation draws from a generator that all threads share.
    """
    with ThreadPoolExecutor(1) as pool:
        waiting: list[tuple[Request, Future[Pixels]]] | None = None
        for requests in steps:
            following = [(request, pool.submit(view.read, request)) for request in requests]
            if waiting is not None:
                yield _augmented(view, waiting)
            waiting = following
        if waiting is not None:
            yield _augmented(view, waiting)


def _augmented(view: TrainingView, read: list[tuple[Request, Future[Pixels]]]) -> list[Batch]:
    return [view.augment(request, future.result()) for request, future in read]


def _grouped(batches: Iterator[Batch], counts: Iterator[int]) -> Iterator[list[Batch]]:
    for count in counts:
        yield [next(batches) for _ in range(count)]


def _unbroken(loader: Iterable[Batch | Failure]) -> Iterator[Batch]:
    """Raise here what a worker met: raised there, it would come with the worker's traceback."""
    with _terminations_held():
        items = iter(loader)
    for item in items:
        if isinstance(item, Failure):
            raise VertebraError(item.message)
        yield item


def _loader(view: Dataset[Batch], batches: object, workers: int) -> DataLoader[Batch]:
    return DataLoader(
        view,
        batch_sampler=cast("torch.utils.data.Sampler[list[int]]", batches),
        collate_fn=_as_it_is,
        num_workers=workers,
        persistent_workers=workers > 0 and isinstance(batches, _Epoch),
        worker_init_fn=_leave_signals_to_parent if workers else None,
        pin_memory=torch.cuda.is_available(),
        # Without this the loader draws a seed for its workers from the caller's generator.
        generator=torch.Generator(),
    )


def _as_it_is(batch: Any) -> Any:
    return batch


@contextlib.contextmanager
def _terminations_held() -> Iterator[None]:
    """Processes and threads started in the block are born with SIGTERM blocked, and stay so."""
    if not _TELLS_SENDER:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_signals_to_parent(_worker: int) -> None:
    """Ctrl-C and SIGTERM are the main process's to answer, also where all are sent them.

    It finishes its step, saves, and then stops the workers with a SIGTERM of its own.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if _TELLS_SENDER:
        threading.Thread(target=_end_when_told, args=(os.getppid(),), daemon=True).start()


def _end_when_told(parent: int) -> None:
    """End at the parent's SIGTERM; anybody else's is passed over."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
