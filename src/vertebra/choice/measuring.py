"""Measure what stands between the evidence and an answer, the cheapest first, while time lasts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import replace

from vertebra.bench import Cell, Floor, cells, groups, run
from vertebra.choice.candidate import Candidate
from vertebra.choice.cheapest import cheapest_of_each_family
from vertebra.choice.commands import TRAINED_BY, TRAINED_IN
from vertebra.choice.cost_model import LEAST_FAMILIES, LEAST_NETWORKS
from vertebra.choice.decide import decide, with_opinions
from vertebra.choice.facts import Facts, OnData, gather
from vertebra.choice.limits import breaks
from vertebra.choice.measured import Setting
from vertebra.choice.order import best
from vertebra.choice.requirement import Requirement
from vertebra.choice.rivals import race
from vertebra.core import VertebraError
from vertebra.evidence import Evidence
from vertebra.machine import Machine
from vertebra.runtime import LAYOUTS, Setup, unavailable

Tell = Callable[[str], None]
# What is tried on a CPU, the fastest in general first (docs/benchmarks.md).
_PLAIN = LAYOUTS[0]
_SETTINGS: tuple[Setting, ...] = (
    ("openvino", "bf16", _PLAIN),
    ("openvino", "fp32", _PLAIN),
    ("onnxruntime", "fp32", _PLAIN),
    ("compile", "fp32", _PLAIN),
    ("eager", "bf16", _PLAIN),
    ("eager", "fp32", _PLAIN),
)
_ON_A_GPU: tuple[Setting, ...] = (
    ("cudagraphs", "fp16", _PLAIN),
    ("compile", "fp16", _PLAIN),
    ("eager", "fp32", _PLAIN),
)


def measure_what_matters(
    requirement: Requirement,
    facts: Facts,
    store: Evidence,
    machine: Machine,
    on_data: OnData | None,
    seconds: float,
    tell: Tell,
) -> Facts:
    """The facts once the best candidate by all that is known is a measured one, or time is up.

    First a few small networks of many families, from which the others' cost is predicted; then what
    would win if its prediction were right, again and again; then what makes sure of the winner.
    What was begun is brought to its end, also where that takes longer than there is time.
    """
    until, tried = time.monotonic() + seconds, set[tuple[str, Setting]]()
    settled: set[str] = set()
    floor = Floor(tell)
    facts = _said(facts, requirement)
    setting = _setting(requirement)
    while setting is not None and time.monotonic() < until:
        wanted = next(_next(requirement, facts, setting, tried), None)
        if wanted is not None:
            tried.add(wanted)
            try:
                some, again = _cells(requirement, *wanted), False
            except VertebraError as error:  # not every network takes images of every size
                tell(f"{wanted[0]}: {error}")
                continue
        else:
            some, again = _settling(requirement, facts, machine, settled)
            if not some:
                break
            settled.add(_names(some))
        highest = "p50" if some[0].workload == "train" else max(requirement.percentile, "p90")
        outcome = run(some, store, force=again, highest=highest, tell=tell, floor=floor)
        for cell, why in (*outcome.unavailable, *outcome.unmeasurable):
            tell(f"{cell}: {why}")
        facts = _said(gather(requirement, store, machine, on_data), requirement)
    return facts


def _said(facts: Facts, requirement: Requirement) -> Facts:
    """The facts with what the rules say of each candidate, which orders the search."""
    return replace(facts, candidates=tuple(with_opinions(facts.candidates, requirement)))


def _settling(
    requirement: Requirement, facts: Facts, machine: Machine, settled: Set[str]
) -> tuple[list[Cell], bool]:
    """What makes sure of the one that would be taken now, and whether it was measured before; none
    that is ``settled``.

    Its training step, where hours are asked for; then itself in turn with those that only times of
    another hour put behind it.
    """
    winner = decide(facts.candidates, requirement)
    if winner is None:
        return [], False
    if facts.pace.wants_step(winner, requirement):
        step = _steps(requirement, winner.model, machine)
        if _names(step) not in settled:
            return step, False
    some = race(facts.candidates, winner, requirement)
    found = [cell for one in some for cell in _cells(requirement, one.model, _setting_of(one))]
    # As many as memory holds together with the winner, the nearest first.
    found = next(groups(found), [])
    return ([], False) if len(found) < 2 or _names(found) in settled else (found, True)


def _names(some: Sequence[Cell]) -> str:
    return ", ".join(sorted(map(str, some)))


def _setting(requirement: Requirement) -> Setting | None:
    """The first that is allowed and can run here."""
    for engine, precision, layout in _SETTINGS if requirement.device == "cpu" else _ON_A_GPU:
        allowed = requirement.allows(engine, precision)
        setup = Setup(engine, precision, device=requirement.device, threads=requirement.threads)
        if allowed and unavailable(setup) is None:
            return engine, precision, layout
    return None


def _next(
    requirement: Requirement, facts: Facts, setting: Setting, tried: Set[tuple[str, Setting]]
) -> Iterator[tuple[str, Setting]]:
    """The networks to measure now, the first one first; none that was tried."""
    here = [one for one in facts.candidates if _setting_of(one) == setting]
    known = {one.model: one.family for one in here if one.is_measured}
    if len(known) < LEAST_NETWORKS or len(set(known.values())) < LEAST_FAMILIES:
        done = set(known) | {model for model, _ in tried}
        for model in cheapest_of_each_family(facts.candidates, done):
            yield model, setting
        return
    open_ones = [
        one
        for one in facts.candidates
        if not one.cost_only
        and not breaks(one, requirement)
        and (one.is_measured or (one.model, _setting_of(one)) not in tried)
    ]
    winner = best(open_ones, requirement.prefer, requirement.min_accuracy is not None)
    if winner is not None and not winner.is_measured:
        yield winner.model, _setting_of(winner)


def _steps(requirement: Requirement, model: str, machine: Machine) -> list[Cell]:
    """Of training, as it runs here by itself."""
    return cells(
        [model],
        precisions=["bf16" if machine.has_bf16 else "fp32"],
        batches=[TRAINED_BY],
        layouts=[TRAINED_IN],
        threads=requirement.threads,
        image_size=requirement.input_size,
        workload="train",
    )


def _setting_of(one: Candidate) -> Setting:
    return one.engine, one.precision, one.layout


def _cells(requirement: Requirement, model: str, setting: Setting) -> list[Cell]:
    engine, precision, layout = setting
    return cells(
        [model],
        [engine],
        [precision],
        [requirement.batch_served],
        [layout],
        threads=requirement.threads,
        device=requirement.device,
        image_size=requirement.input_size,
    )
