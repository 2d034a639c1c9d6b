"""Cells that are measured together: each in its own process, asked in turn, A B B A."""

from __future__ import annotations

import contextlib
import math
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vertebra.bench import disturbance
from vertebra.bench.listed import CATALOGUE
from vertebra.bench.pace import Pace, told_by
from vertebra.bench.plan import Cell
from vertebra.bench.statistics import Ratio, median_interval, paired_ratio
from vertebra.bench.wire import Child, WorkerError
from vertebra.bench.workloads import (
    ROUNDS,
    WORK,
    Member,
    MemberError,
    expected_seconds,
    take_turns,
    takes_turns,
)
from vertebra.evidence import Measurement
from vertebra.machine import Machine, percentile
from vertebra.runtime import KEEPS_FP32

# Of warming up, at most.
_WARM_SECONDS = 5.0
# Compiling or quantising a large network on few cores takes minutes.
_PATIENCE = 1800.0


class Group:
    """The processes of some cells, from making what they load to the last measurement.

    Args:
        cells: what is measured, all of one workload.
        calls: of each, at least.
        by_layer: also the time of each layer.
        worker: the module that each process runs.
        pace: the machine's, which turns wait for.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        calls: int,
        by_layer: bool = False,
        worker: str = "vertebra.bench.worker",
        pace: Pace | None = None,
    ) -> None:
        self._cells = cells
        self._calls = calls
        self._by_layer = by_layer
        self._worker = worker
        self._pace = pace or Pace()
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
                    self._pace.begin()
                    take_turns([member, twin], self._calls, self.rounds, self._pace)
                    return paired_ratio(member.samples, twin.samples, self.rounds)
                except WorkerError as error:
                    if isinstance(error, MemberError) and error.member is member:
                        self._drop(member, error)
        return None

    @property
    def expected(self) -> str:
        """How long :meth:`measure` may take, in words; "" where that is not told by the calls."""
        if WORK[self._cells[0].workload] is not take_turns:
            return ""
        seconds = expected_seconds(self.members, self._calls, self.rounds)
        return f" in {self.rounds} rounds, about {math.ceil(seconds)} s at the machine's pace"

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
                if self._pace.seconds is not None:
                    threads = member.cell.setup.thread_count
                    member.extra["pace"] = {"seconds": self._pace.seconds, "by": told_by(threads)}
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
            pids = (*self._pace.pids, *(member.child.pid for member in self.members))
            self._pace.begin()
            before = disturbance.read(pids)
            try:
                work = WORK[self._cells[0].workload]
                work(self.members, self._calls, self.rounds, self._pace)
            except MemberError as error:
                self._drop(error.member, error)
                continue
            disturbed = disturbance.warnings(before, disturbance.read(pids))
            return (*disturbed, *self._pace.warnings)

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
        child = stack.enter_context(Child(self._worker, cell.setup.thread_count, KEEPS_FP32))
        try:
            loaded = child.ask("load", _PATIENCE, **spec)
            warm = child.ask("settle", _PATIENCE, seconds=_WARM_SECONDS)
        except WorkerError:
            child.kill()
            raise
        return Member(cell, child, {**loaded, "spec": spec}, warm["seconds"])


def _layers(member: Member) -> list[dict[str, Any]] | str:
    """Time by layer, or why it is not told: the times of the whole are kept all the same."""
    try:
        layers: list[dict[str, Any]] = member.child.ask("layers", 600)["layers"]
    except WorkerError as error:
        return str(error)
    return layers


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
