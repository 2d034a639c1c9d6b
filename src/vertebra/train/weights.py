"""The weights of a job: those that are judged, those that are saved."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from torch import Tensor

from vertebra.train.job import Job


def plain_weights(job: Job) -> Mapping[str, Tensor]:
    """The network's state dict, whole, for rank 0 to save."""
    weights: Mapping[str, Tensor] = job.net.state_dict()
    return weights


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
