"""The processes that train one network together.

A run of one process is a group of one: no process group is made, and every method does nothing. Of
several, ``torchrun`` starts each and says in the environment who it is; gloo joins CPUs, NCCL GPUs.
Rank 0 alone writes files and speaks.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Anything = TypeVar("Anything")
_TIMEOUT = timedelta(minutes=30)


@dataclass(frozen=True)
class Group:
    """Who this process is among ``world`` processes; ``local`` is its number among the ``here`` on
    its machine.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    here: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other."""
        return self.world == 1

    def sum(self, tensor: Tensor) -> Tensor:
        """Add up ``tensor`` over all processes, in place."""
        if not self.is_alone:
            dist.all_reduce(tensor)
        return tensor

    def most(self, *numbers: int) -> list[int]:
        """The largest of each number among all processes."""
        if self.is_alone:
            return list(numbers)
        tensor = torch.tensor(numbers, dtype=torch.int64)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return tensor.tolist()

    def wait(self) -> None:
        """Until every process is here."""
        if not self.is_alone:
            dist.barrier()

    def from_first(self, value: Anything) -> Anything:
        """Rank 0's ``value`` in every process; it is pickled."""
        if self.is_alone:
            return value
        box: list[Any] = [value]
        dist.broadcast_object_list(box, src=0)
        received: Anything = box[0]
        return received

    def gathered(self, value: Anything) -> list[Anything]:
        """Every process's ``value``, by rank; it is pickled."""
        if self.is_alone:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values


@contextlib.contextmanager
def joined() -> Iterator[Group]:
    """Join the group that the environment names, for the while; alone where it names none."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Group()
        return
    local, here = (int(os.environ.get(name, "0")) for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    group = Group(int(os.environ["RANK"]), world, local, max(here, 1))
    ours = not dist.is_initialized()
    if ours:
        # Numbers of the host (whether to stop, who met a broken file) go by gloo on GPUs too.
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=_TIMEOUT)
    try:
        yield group
    finally:
        if ours:
            dist.destroy_process_group()
