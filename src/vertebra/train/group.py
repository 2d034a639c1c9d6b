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

from vertebra.core import VertebraError

Anything = TypeVar("Anything")
# To find each other takes seconds, and where a connection was lost for ever it is better to fail,
# and be started again, than to wait. Afterwards rank 0 may list a million files or judge a test set
# while the others wait for it.
_MEETING = timedelta(minutes=2)
_WORKING = timedelta(minutes=30)


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

    def from_first_into(self, tensor: Tensor) -> None:
        """Copy rank 0's ``tensor`` into every process's, in place."""
        if not self.is_alone:
            dist.broadcast(tensor, src=0)

    def gathered(self, value: Anything) -> list[Anything]:
        """Every process's ``value``, by rank; it is pickled."""
        if self.is_alone:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values


def _meet(backend: str, world: int) -> None:
    try:
        dist.init_process_group(backend, timeout=_MEETING, **_store(world))
    except RuntimeError as error:
        raise VertebraError(
            f"the {world} processes did not find each other in {_MEETING.seconds} s: "
            f"{str(error).splitlines()[0]}",
            exit_code=1,
        ) from None
    # torch 2.11 has it under its older name only.
    functions: Any = dist.distributed_c10d
    set_timeout = getattr(functions, "set_timeout", None) or functions._set_pg_timeout
    set_timeout(_WORKING)


def _store(world: int) -> dict[str, Any]:
    """Where the processes of one machine meet: a place of its own for each start of the group.

    torchrun keeps one store over its restarts (torch 2.15), in which a process may find the address
    of one that died. Of several machines each counts its own restarts, so there they meet as torch
    has it; TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 gives each start a new store then.
    """
    kept = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if not kept or os.environ.get("GROUP_WORLD_SIZE") != "1":
        return {}
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    stores: Any = dist  # whose stores type checkers do not see
    store = stores.TCPStore(host, port, world, is_master=False, timeout=_MEETING)
    start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    prefixed = stores.PrefixStore(f"vertebra/start-{start}", store)
    return {"store": prefixed, "rank": int(os.environ["RANK"]), "world_size": world}


@contextlib.contextmanager
def joined() -> Iterator[Group]:
    """Join the group that the environment names, for the while; alone where it names none.

    Raises:
        VertebraError: its processes do not find each other.
    """
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
        _meet(backend, world)
    try:
        yield group
    finally:
        if ours:
            dist.destroy_process_group()
