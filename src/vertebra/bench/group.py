"""Cells that are measured together: each in its own process, asked in turn, A B B A."""

from __future__ import annotations

import contextlib
import math
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vertebra.bench import disturbance
from vertebra.bench.listed import CATALOGUE
from vertebra.bench.plan import Cell
from vertebra.bench.statistics import Ratio, median_interval, paired_ratio
from vertebra.bench.wire import Child, WorkerError
from vertebra.evidence import Measurement
from vertebra.machine import Machine, percentile
from vertebra.runtime import REDUCES_FP32

Tell = Callable[[str], None]

# Rounds of turns; each gives one median, and sixteen of them a narrow interval; where the machine
# is noisy, four times as many halve it.
ROUNDS, MORE_ROUNDS = 16, 64
# Seconds of calls in one turn at least, up to so many calls.
_TURN_SECONDS, _TURN_CALLS = 0.2, 64
# Seconds of calls that begin a turn and are not counted: ONNX Runtime's first four take up to twice
# as long, OpenVINO's first five a little longer, PyTorch's first one (docs/decisions/0018).
_COLD_SECONDS = 0.05
# Seconds between two turns: the threads of some engines spin for a moment after a call.
_PAUSE = 0.005
# Seconds for which requests come to a server, at least.
_SERVED_SECONDS = 5.0
_WARM_SECONDS = 5.0
# Compiling or quantising a large network on few cores takes minutes.
_PATIENCE = 1800.0


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


class Group:
    """The processes of some cells, from making what they load to the last measurement.

    Args:
        cells: what is measured, all of one workload.
        calls: of each, at least.
        by_layer: also the time of each layer.
        worker: the module that each process runs.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        calls: int,
        by_layer: bool = False,
        worker: str = "vertebra.bench.worker",
    ) -> None:
        self._cells = cells
        self._calls = calls
        self._by_layer = by_layer
        self._worker = worker
        # What was measured in turn is compared round by round: it is told by this.
        self._turns = secrets.token_hex(8)
        self.rounds = ROUNDS
        self.failed: list[tuple[Cell, str]] = []
        self.members: list[Member] = []

    @contextlib.contextmanager
    def opened(self) -> Iterator[Group]:
        """While the processes live; whatever happens, none of them and no file stays."""
        with (
            tempfile.TemporaryDirectory(prefix="vertebra-bench-") as folder,
            contextlib.ExitStack() as stack,
        ):
            for cell, spec in self._made(Path(folder)):
                try:
                    self.members.append(self._started(cell, spec, stack))
                except WorkerError as error:
                    self.failed.append((cell, str(error)))
            yield self

    def twin_ratio(self) -> Ratio | None:
        """A member beside another process of the same: what noise looks like here.

        In as many rounds as the group is measured in. The first one that lives through it together
        with its twin.
        """
        for member in list(self.members):
            with contextlib.ExitStack() as stack:
                try:
                    twin = self._started(member.cell, member.loaded["spec"], stack)
                    take_turns([member, twin], self._calls, self.rounds)
                    return paired_ratio(member.samples, twin.samples, self.rounds)
                except WorkerError as error:
                    if isinstance(error, MemberError) and error.member is member:
                        self._drop(member, error)
        return None

    def measure(self, machine: Machine, floor: float) -> list[Measurement]:
        """The measurement of every member that does not fail; can be asked again."""
        disturbed = self._work()
        found: list[Measurement] = []
        for member in list(self.members):
            try:
                if "share" not in member.extra:  # both below may load the network a second time
                    member.keep(member.child.ask("memory", 60))
                member.extra["share"] = member.child.ask("share", _PATIENCE)["share"]
                if takes_turns(member.cell):
                    member.extra["turns"] = self._turns
                if self._by_layer:
                    member.extra["layers"] = _layers(member)
                found.append(_measurement(member, machine, floor, disturbed, self.rounds))
            except WorkerError as error:
                self._drop(member, error)
        return found

    def _work(self) -> tuple[str, ...]:
        """All calls of all members; what disturbed them, in words. One that fails is left out, and
        the others begin anew, since its turns are in theirs.
        """
        while True:
            self._turns = secrets.token_hex(8)
            for member in self.members:
                member.samples = []
            pids = tuple(member.child.pid for member in self.members)
            before = disturbance.read(pids)
            try:
                _WORK[self._cells[0].workload](self.members, self._calls, self.rounds)
            except MemberError as error:
                self._drop(error.member, error)
                continue
            return disturbance.warnings(before, disturbance.read(pids))

    def _drop(self, member: Member, error: WorkerError) -> None:
        """Go on without one that failed."""
        member.child.kill()
        self.members.remove(member)
        self.failed.append((member.cell, str(error)))

    def _made(self, folder: Path) -> list[tuple[Cell, dict[str, Any]]]:
        """What each cell's worker is told, after all files that they load were written."""
        specs: list[tuple[Cell, dict[str, Any]]] = []
        networks: dict[tuple[str, tuple[int, ...]], list[Cell]] = {}
        for cell in self._cells:
            networks.setdefault((cell.target, cell.input_shape), []).append(cell)
        for place, ((target, shape), some) in enumerate(networks.items()):
            here = folder / str(place)
            here.mkdir()
            if some[0].workload == "train":
                specs += [(cell, cell.spec(str(here), None)) for cell in some]
                continue
            threads = max(cell.setup.thread_count for cell in some)
            setups = [asdict(cell.setup) for cell in some]
            with Child("vertebra.bench.maker", threads) as maker:
                try:
                    answer = maker.ask(
                        "make",
                        _PATIENCE * len(some),
                        target=target,
                        input_shape=shape,
                        setups=setups,
                        folder=str(here),
                    )
                except WorkerError as error:
                    self.failed += [(cell, str(error)) for cell in some]
                    continue
            for index, cell in enumerate(some):
                if str(index) in answer["failed"]:
                    self.failed.append((cell, answer["failed"][str(index)]))
                else:
                    specs.append((cell, cell.spec(str(here), answer["artifacts"][index])))
        return specs

    def _started(self, cell: Cell, spec: dict[str, Any], stack: contextlib.ExitStack) -> Member:
        """The cell in a process of its own, warm.

        Raises:
            WorkerError: it cannot be loaded or called.
        """
        child = stack.enter_context(Child(self._worker, cell.setup.thread_count, REDUCES_FP32))
        try:
            loaded = child.ask("load", _PATIENCE, **spec)
            warm = child.ask("settle", _PATIENCE, seconds=_WARM_SECONDS)
        except WorkerError:
            child.kill()
            raise
        return Member(cell, child, {**loaded, "spec": spec}, warm["seconds"])


def takes_turns(cell: Cell) -> bool:
    """Whether members of this workload are asked in turn, round by round."""
    return _WORK[cell.workload] is take_turns


def _layers(member: Member) -> list[dict[str, Any]] | str:
    """Time by layer, or why it is not told: the times of the whole are kept all the same."""
    try:
        layers: list[dict[str, Any]] = member.child.ask("layers", 600)["layers"]
    except WorkerError as error:
        return str(error)
    return layers


def take_turns(members: Sequence[Member], calls: int, rounds: int) -> None:
    """Rounds of a turn each; every other round in the reverse order, so that drift favours none.

    Each turn begins with calls that are not counted, since the caches hold another's weights and
    threads sleep; but where a call takes as long as a turn, it would double the time.
    """
    for member in members:
        member.samples = []
    least = math.ceil(calls / rounds)
    for index in range(rounds):
        for member in members if index % 2 == 0 else reversed(members):
            cold = _calls_in(_COLD_SECONDS, member) if member.seconds < _TURN_SECONDS else 0
            _take(member, max(least, _calls_in(_TURN_SECONDS, member)), warm=cold)


def _calls_in(seconds: float, member: Member) -> int:
    """As many as take so long, up to what a turn has at most."""
    return min(math.ceil(seconds / max(member.seconds, 1e-6)), _TURN_CALLS)


def _take(member: Member, calls: int, warm: int) -> None:
    patience = 600 + 100 * calls * member.seconds
    member.samples += _asked(member, "time", patience, calls=calls, warm=warm)["samples"]
    time.sleep(_PAUSE)


def _asked(member: Member, order: str, patience: float, **rest: Any) -> dict[str, Any]:
    try:
        return member.child.ask(order, patience, **rest)
    except WorkerError as error:
        raise MemberError(member, str(error)) from error


def _in_one_go(members: Sequence[Member], calls: int, rounds: int) -> None:
    """All calls of one, then all of the next: what is waiting is worked off without a pause."""
    for member in members:
        _take(member, rounds * math.ceil(calls / rounds), warm=2)


def _as_servers(members: Sequence[Member], calls: int, rounds: int) -> None:
    """Each in turn a server; the same arrivals for all.

    For some seconds at least: a queue that builds up does so over many requests.
    """
    for member in members:
        rate = float(member.cell.options["rate"])
        # Of more than it can answer no more than show that: each takes as long as a call.
        coming = min(rate, 2 / max(member.seconds, 1e-6))
        requests = rounds * math.ceil(max(calls, coming * _SERVED_SECONDS) / rounds)
        patience = 600 + 10 * requests * (member.seconds + 1 / rate)
        answer = _asked(member, "serve", patience, rate=rate, requests=requests, seed=0)
        member.samples += answer["samples"]
        member.extra["busy"] = answer["busy"]
        member.extra["seconds"] = answer["seconds"]


_WORK: dict[str, Callable[[Sequence[Member], int, int], None]] = {
    "stream": take_turns,
    "train": take_turns,
    "offline": _in_one_go,
    "server": _as_servers,
}


def _measurement(
    member: Member, machine: Machine, floor: float, disturbed: tuple[str, ...], rounds: int
) -> Measurement:
    cell, samples, loaded = member.cell, member.samples, member.loaded
    middle = median_interval(samples, rounds)
    spent = member.extra.get("seconds", sum(samples))
    return Measurement(
        conditions=cell.conditions(machine),
        model=cell.target,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        p50=middle.value,
        p90=percentile(samples, 90),
        p99=percentile(samples, 99) if len(samples) >= 662 else None,
        interval=(middle.low, middle.high),
        samples=tuple(samples),
        images_per_second=len(samples) * cell.batch / spent,
        floor=floor,
        load=loaded["load"],
        first=loaded["first"],
        memory=member.memory,
        file=loaded["file"],
        parity=loaded["parity"],
        cost_only=cell.setup.precision == "int8",
        warnings=disturbed,
        extra={**member.extra, "rounds": rounds, CATALOGUE: cell.catalogue},
    )
