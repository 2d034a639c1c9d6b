"""What the members of a group are asked for, by workload: calls in turn, all at once, requests."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vertebra.bench.pace import Pace
from vertebra.bench.plan import Cell
from vertebra.bench.wire import Child, WorkerError

# Rounds of turns; each gives one median, and sixteen of them a narrow interval; where the machine
# is noisy, four times as many halve it.
ROUNDS, MORE_ROUNDS = 16, 64
# Seconds of calls in one turn at least, up to so many calls.
_TURN_SECONDS, _TURN_CALLS = 0.2, 64
# Of calls that are given at once: seconds of a turn, up to so many calls.
_AT_ONCE_SECONDS, _MOST_AT_ONCE = 1.0, 512
# Seconds of calls that begin a turn and are not counted: ONNX Runtime's first four take up to twice
# as long, OpenVINO's first five a little longer, PyTorch's first one (docs/decisions/0018).
_COLD_SECONDS = 0.05
# Seconds between two turns: the threads of some engines spin for a moment after a call.
_PAUSE = 0.005
# Seconds for which requests come to a server, at least.
_SERVED_SECONDS = 5.0


@dataclass
class Member:
    """One cell of a group while its process lives."""

    cell: Cell
    child: Child
    loaded: dict[str, Any]
    seconds: float
    samples: list[float] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    memory: int = 0

    def keep(self, taken: Mapping[str, int | None]) -> None:
        """What it took at most: of the GPU where it ran on one, and of the host besides."""
        on_gpus, on_host = taken["gpus"], taken["host"]
        self.memory = on_host or 0
        if on_gpus is not None:
            self.memory = on_gpus
            self.extra["host_memory"] = on_host


class MemberError(WorkerError):
    """One of a group failed while it was asked in turn."""

    def __init__(self, member: Member, reason: str) -> None:
        super().__init__(reason)
        self.member = member


def takes_turns(cell: Cell) -> bool:
    """Whether members of this workload are asked in turn, round by round."""
    return WORK[cell.workload] is not _as_servers


def take_turns(
    members: Sequence[Member], calls: int, rounds: int, pace: Pace | None = None
) -> None:
    """Rounds of a turn each, one call after the other.

    Each turn begins with calls that are not counted, since the caches hold another's weights and
    threads sleep; but where a call takes as long as a turn, it would double the time.
    """
    for member in _turns(members, rounds):
        _take(member, "time", *_calls_of_a_turn(member, calls, rounds), pace or Pace())


def expected_seconds(members: Sequence[Member], calls: int, rounds: int) -> float:
    """About how long :func:`take_turns` takes on a machine that is at its pace."""
    turns = [m.seconds * sum(_calls_of_a_turn(m, calls, rounds)) + _PAUSE for m in members]
    return rounds * sum(turns)


def _calls_of_a_turn(member: Member, calls: int, rounds: int) -> tuple[int, int]:
    """How many count, and how many before them do not."""
    cold = _calls_in(_COLD_SECONDS, member) if member.seconds < _TURN_SECONDS else 0
    return max(math.ceil(calls / rounds), _calls_in(_TURN_SECONDS, member)), cold


def give_at_once(
    members: Sequence[Member], calls: int, rounds: int, pace: Pace | None = None
) -> None:
    """Rounds of a turn each, all calls of a turn given at once.

    More of them, since at its end fewer and fewer are under way.
    """
    least = math.ceil(calls / rounds)
    for member in _turns(members, rounds):
        some = min(math.ceil(_AT_ONCE_SECONDS / max(member.seconds, 1e-6)), _MOST_AT_ONCE)
        cold = _calls_in(_COLD_SECONDS, member)
        _take(member, "time_all", max(least, some), cold, pace or Pace())


def _turns(members: Sequence[Member], rounds: int) -> Iterator[Member]:
    """Each in its turn, without what it took before; every other round in the reverse order, so
    that drift favours none.
    """
    for member in members:
        member.samples = []
    for index in range(rounds):
        yield from members if index % 2 == 0 else reversed(members)


def _calls_in(seconds: float, member: Member) -> int:
    """As many as take so long, up to what a turn has at most."""
    return min(math.ceil(seconds / max(member.seconds, 1e-6)), _TURN_CALLS)


def _take(member: Member, order: str, calls: int, warm: int, pace: Pace) -> None:
    """One turn; again where the machine lost its pace meanwhile."""
    patience = 600 + 100 * calls * member.seconds
    while True:
        pace.wait()
        begun = time.monotonic()
        samples = _asked(member, order, patience, calls=calls, warm=warm)["samples"]
        time.sleep(_PAUSE)
        if pace.held(begun):
            member.samples += samples
            return


def _asked(member: Member, order: str, patience: float, **rest: Any) -> dict[str, Any]:
    try:
        return member.child.ask(order, patience, **rest)
    except WorkerError as error:
        raise MemberError(member, str(error)) from error


def _as_servers(
    members: Sequence[Member], calls: int, rounds: int, pace: Pace | None = None
) -> None:
    """Each in turn a server; the same arrivals for all.

    For some seconds at least: a queue that builds up does so over many requests.
    """
    for member in members:
        rate = float(member.cell.options["rate"])
        # Of more than it can answer no more than show that: each takes as long as a call.
        coming = min(rate, 2 / max(member.seconds, 1e-6))
        requests = rounds * math.ceil(max(calls, coming * _SERVED_SECONDS) / rounds)
        patience = 600 + 10 * requests * (member.seconds + 1 / rate)
        (pace or Pace()).wait()
        answer = _asked(member, "serve", patience, rate=rate, requests=requests, seed=0)
        member.samples += answer["samples"]
        member.extra["busy"] = answer["busy"]
        member.extra["seconds"] = answer["seconds"]


WORK: dict[str, Callable[[Sequence[Member], int, int, Pace | None], None]] = {
    "stream": take_turns,
    "train": take_turns,
    "offline": give_at_once,
    "server": _as_servers,
}
