"""Measure networks on this machine, a group at a time, and keep what was found."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from vertebra.bench import disturbance
from vertebra.bench.group import Group
from vertebra.bench.grouping import groups
from vertebra.bench.keeping import keep
from vertebra.bench.pace import Pace, paced
from vertebra.bench.plan import Cell, cells, unsuited
from vertebra.bench.statistics import LEAST_CALLS, Ratio, noise_floor
from vertebra.bench.workloads import MORE_ROUNDS, ROUNDS
from vertebra.core import VertebraError, unknown
from vertebra.evidence import Evidence, Measurement
from vertebra.evidence.checks import moment
from vertebra.machine import Machine, describe
from vertebra.runtime import unavailable

Tell = Callable[[str], None]

# The most noise, as a share of the time, at which a measurement is still worth something.
WORST_FLOOR = 0.05
# Seconds for which a floor is taken to hold, and tries to measure undisturbed.
_FLOOR_HOLDS, _TRIES = 600.0, 3
# For which something that was disturbed in all tries counts as known.
_LATELY = timedelta(days=1)
# Rounds in which the floor is looked for, one after the other.
_TRIES_OF_ROUNDS = (ROUNDS, MORE_ROUNDS, MORE_ROUNDS)


@dataclass
class Outcome:
    """What a bench came to: measured now, known before, and what cannot be had, with the reason."""

    measurements: list[Measurement] = field(default_factory=list)
    known: list[Measurement] = field(default_factory=list)
    unavailable: list[tuple[Cell, str]] = field(default_factory=list)
    unmeasurable: list[tuple[Cell, str]] = field(default_factory=list)


def measure(
    subjects: Sequence[str],
    engines: Sequence[str] = ("eager",),
    precisions: Sequence[str] = ("fp32",),
    batches: Sequence[int] = (1,),
    threads: int | None = None,
    *,
    layouts: Sequence[str] = ("contiguous",),
    device: str = "cpu",
    image_size: int | None = None,
    workload: str = "stream",
    rate: float | None = None,
    evidence: Evidence | None = None,
    force: bool = False,
) -> list[Measurement]:
    """What networks cost here: every combination that this machine can run.

    What it cannot run is told by a warning each; :func:`run` returns them instead.

    Args:
        subjects: names of the zoo, "timm/NAME", run folders, or "package.module:factory".
        engines: "eager", "compile", "onnxruntime", "openvino", "cudagraphs", "tensorrt".
        precisions: "fp32", "bf16", "fp16", "int8".
        batches: images of a call.
        threads: of one call; as many as this process may use, if None.
        layouts: "contiguous", "channels_last"; of eager and compile only.
        device: "cpu", or "cuda".
        image_size: pixels of a side; each network's own if None.
        workload: "stream", "offline", "server" or "train".
        rate: requests a second that come to a server.
        evidence: where measurements are kept and looked up; the user's store if None.
        force: measure also what is known.

    Raises:
        VertebraError: a name or number cannot be; or the machine is too noisy now (exit code 1).
    """
    wanted = cells(
        subjects, engines, precisions, batches, layouts, threads, device, image_size, workload, rate
    )
    store = evidence or Evidence()
    outcome = run(wanted, store, force=force)
    if outcome.unmeasurable and not (outcome.measurements or outcome.known):
        raise VertebraError(outcome.unmeasurable[0][1], exit_code=1)
    for cell, why_not in (*outcome.unavailable, *outcome.unmeasurable):
        warnings.warn(f"{cell}: {why_not}", stacklevel=2)
    return [*outcome.known, *outcome.measurements]


def run(
    wanted: Sequence[Cell],
    store: Evidence,
    *,
    force: bool = False,
    highest: str = "p90",
    by_layer: bool = False,
    tell: Tell = lambda _text: None,
    floor: Floor | None = None,
) -> Outcome:
    """Measure the cells that are not known yet; each group is kept as soon as it is done.

    Args:
        wanted: the cells, network by network.
        store: where measurements are kept and looked up.
        force: measure also what is known.
        highest: the highest percentile that is wanted, which decides the number of calls.
        by_layer: also the time of each layer.
        tell: called with one line on each step.
        floor: the machine's noise, where it was looked for a moment ago already.
    """
    if highest not in LEAST_CALLS:
        raise unknown("percentile", highest, LEAST_CALLS)
    machine, outcome = describe(), Outcome()
    calls = LEAST_CALLS[highest]
    pending = list(_pending(wanted, store, machine, force, by_layer, outcome, calls))
    if outcome.known:
        tell(f"{len(outcome.known)} known already, {len(pending)} to measure{_disturbed(outcome)}")
    if pending:
        for text in disturbance.now():
            tell(f"warning: this machine is busy: {text}")
        threads = max(cell.setup.thread_count for cell in pending)
        if threads > machine.cores:
            tell(f"warning: {threads} threads share {machine.cores} cores")
    clock = _Clock(len(pending), tell)
    floor = floor or Floor(tell)
    with _pace_for(pending, store, machine, tell) as pace:
        for some in groups(pending):
            clock.next(some)
            group = Group(some, calls, by_layer, pace=pace)
            with group.opened():
                found, noise = _undisturbed(group, floor, machine, tell)
            keep(found, machine, store)
            outcome.measurements += found
            outcome.unavailable += group.failed
            if not found:
                outcome.unmeasurable += [(m.cell, _too_noisy(noise)) for m in group.members]
            clock.done(len(some))
    return outcome


def _pace_for(
    pending: Sequence[Cell], store: Evidence, machine: Machine, tell: Tell
) -> contextlib.AbstractContextManager[Pace]:
    """The pace that turns wait for: of as many threads as a cell uses; none of a GPU."""
    if not pending or any(cell.setup.on_gpu for cell in pending):
        return contextlib.nullcontext(Pace())
    known = store.measurements(machine=machine.fingerprint)
    return paced(pending[0].setup.thread_count, known, tell)


def _undisturbed(
    group: Group, floor: Floor, machine: Machine, tell: Tell
) -> tuple[Sequence[Measurement], float | None]:
    """The measurements of an open group, none where the machine is too noisy; and its noise.

    A group that something disturbed is measured again, with a floor of its own time; what still was
    disturbed then says so, and so does the last that was measured before it became too noisy.
    """
    found: Sequence[Measurement] = ()
    for _ in range(_TRIES):
        noise = floor.of(group)
        if noise is None or noise > WORST_FLOOR:
            return found, noise
        tell(f"measuring{group.expected}")
        found = group.measure(machine, noise)
        disturbed = dict.fromkeys(w for m in found for w in m.warnings)
        if not disturbed:
            break
        tell(f"disturbed: {'; '.join(disturbed)}")
        floor.forget()
    return found, noise


def _pending(
    wanted: Sequence[Cell],
    store: Evidence,
    machine: Machine,
    force: bool,
    by_layer: bool,
    outcome: Outcome,
    calls: int,
) -> Iterator[Cell]:
    """What is left to measure; what is known or cannot be had goes into ``outcome``."""
    for cell in wanted:
        why_not = unsuited(cell) or unavailable(cell.setup)
        if why_not:
            outcome.unavailable.append((cell, why_not))
            continue
        known = None if force else store.fresh(cell.conditions(machine).key)
        if known is None or _lacks(known, calls, by_layer):
            yield cell
        else:
            outcome.known.append(known)


def _lacks(known: Measurement, calls: int, by_layer: bool) -> bool:
    """Whether a measurement does not answer the question: too few calls, no layers, disturbed.

    What was disturbed lately was tried several times then: else a suite on a busy machine would
    begin at its beginning each time.
    """
    few = len(known.samples) < calls
    late = datetime.now(UTC) - moment(known.measured_at) > _LATELY
    return few or (bool(known.warnings) and late) or (by_layer and "layers" not in known.extra)


def _disturbed(outcome: Outcome) -> str:
    disturbed = sum(bool(known.warnings) for known in outcome.known)
    return f"; {disturbed} were disturbed, --force measures again" if disturbed else ""


def _too_noisy(noise: float | None) -> str:
    if noise is None:
        return "unmeasurable now: nothing of it could be run"
    return (
        f"unmeasurable now: the same network beside itself differs by up to {100 * noise:.1f} %, "
        f"more than {100 * WORST_FLOOR:.0f} %; try again when the machine is quieter"
    )


class Twins(Protocol):
    """What can run beside another process of the same, in so many rounds: a group."""

    rounds: int

    def twin_ratio(self) -> Ratio | None:
        """See :meth:`.group.Group.twin_ratio`."""


class Floor:
    """The machine's noise, found anew when the last time is long ago."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._value: float | None = None
        self._rounds = ROUNDS
        self._until = 0.0

    def of(self, group: Twins) -> float | None:
        """The noise floor, from a group that is open; None if none of it runs.

        In more rounds where a few leave it too high; the group is then measured in as many.
        """
        if self._value is not None and time.monotonic() < self._until:
            group.rounds = self._rounds
            return self._value
        for self._rounds in _TRIES_OF_ROUNDS:
            group.rounds = self._rounds
            ratio = group.twin_ratio()
            if ratio is None:
                return None
            self._value = noise_floor(ratio)
            self._tell(
                f"noise floor: {100 * self._value:.1f} % (the same beside itself, "
                f"{self._rounds} rounds)"
            )
            if self._value <= WORST_FLOOR:
                self._until = time.monotonic() + _FLOOR_HOLDS
                break
        return self._value

    def forget(self) -> None:
        """Something has changed: find it anew next time."""
        self._until = 0.0


class _Clock:
    """How far a bench is, and how long the rest may take."""

    def __init__(self, cells: int, tell: Tell) -> None:
        self._cells, self._tell = cells, tell
        self._finished, self._begun = 0, time.monotonic()

    def next(self, group: Sequence[Cell]) -> None:
        """A group begins."""
        left = ""
        if self._finished:
            each = (time.monotonic() - self._begun) / self._finished
            minutes = each * (self._cells - self._finished) / 60
            left = f", about {minutes:.0f} min left" if minutes >= 1 else ", under a minute left"
        names = ", ".join(dict.fromkeys(cell.target for cell in group))
        self._tell(f"{self._finished} of {self._cells} measured{left}: {names}")

    def done(self, cells: int) -> None:
        """So many more are through."""
        self._finished += cells
