"""The weights of a job: those that are judged, those that are saved."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from torch import Tensor

from vertebra.train import sharding
from vertebra.train.checkpoint import Checkpoint
from vertebra.train.job import Job


def saved_weights(job: Job) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor] | None]:
    """The network's state dict and the average's, undivided; every process has to ask."""
    weights: Mapping[str, Tensor] = job.net.state_dict()
    average = None if job.average is None else job.average.tensors
    if not job.is_sharded:
        return weights, average
    return sharding.whole(weights), None if average is None else sharding.whole(average)


def saved_optimizer(job: Job) -> dict[str, Any]:
    """The optimiser's state; every process has to ask. By names where the recipe shards."""
    if job.recipe.train.shard:
        return sharding.optimizer_state(job.net, job.optimizer)
    return job.optimizer.state_dict()


def restore_weights(job: Job, checkpoint: Checkpoint) -> None:
    """Weights, average and optimiser as they were saved."""
    state = checkpoint.state["optimizer"]
    if job.is_sharded:
        sharding.fill(job.net.state_dict(), checkpoint.weights)
    else:
        job.net.load_state_dict(checkpoint.weights)
    if job.average is not None and checkpoint.ema is not None:
        sharding.fill(job.average.tensors, checkpoint.ema)
    if job.recipe.train.shard:
        sharding.fill_optimizer(job.net, job.optimizer, state)
    else:
        job.optimizer.load_state_dict(state)


def share_statistics(job: Job) -> None:
    """Give every process rank 0's running statistics, which are the ones that are saved.

    Without synchronised norms each process keeps those of its own images.
    """
    if job.group.is_alone:
        return
    learnt = {name for name, _ in job.net.named_parameters()}
    average = {} if job.average is None else job.average.tensors
    for name, tensor in (*job.net.state_dict().items(), *average.items()):
        if name not in learnt:
            job.group.from_first_into(tensor)


class judged_weights:  # noqa: N801 - reads as the context that it is
    """The averaged weights inside the network for the while, where an average is kept."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.kept: dict[str, Tensor] = {}

    def __enter__(self) -> None:
        if self.job.average is not None:
            state = self.job.net.state_dict()
            self.kept = {name: value.clone() for name, value in state.items()}
            self.job.net.load_state_dict(self.job.average.tensors)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.job.average is not None:
            self.job.net.load_state_dict(self.kept)
