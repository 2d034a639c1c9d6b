"""Measure what stands between the evidence and an answer, the cheapest first, while time lasts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence, Set

from vertebra.bench import Cell, cells, run
from vertebra.choice.candidate import Candidate
from vertebra.choice.cost_model import LEAST_FAMILIES, LEAST_NETWORKS
from vertebra.choice.facts import Facts, OnData, gather
from vertebra.choice.limits import breaks
from vertebra.choice.order import best
from vertebra.choice.requirement import Requirement
from vertebra.evidence import Evidence
from vertebra.machine import Machine
from vertebra.runtime import Setup, unavailable

Tell = Callable[[str], None]
Setting = tuple[str, str]

# What is tried on a CPU, the fastest in general first (docs/benchmarks.md).
_SETTINGS: tuple[Setting, ...] = (
    ("openvino", "bf16"),
    ("openvino", "fp32"),
    ("onnxruntime", "fp32"),
    ("compile", "fp32"),
    ("eager", "bf16"),
    ("eager", "fp32"),
)
_ON_A_GPU: tuple[Setting, ...] = (("cudagraphs", "fp16"), ("compile", "fp16"), ("eager", "fp32"))


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
    would win if its prediction were right, again and again. One at a time, so that the last one
    alone may take longer than there is time.
    """
    until, tried = time.monotonic() + seconds, set[tuple[str, Setting]]()
    setting = _setting(requirement)
    while setting is not None and time.monotonic() < until:
        wanted = next(_next(requirement, facts, setting, tried), None)
        if wanted is None:
            break
        tried.add(wanted)
        percentile = max(requirement.percentile, "p90")
        outcome = run(_cells(requirement, wanted), store, highest=percentile, tell=tell)
        for cell, why in (*outcome.unavailable, *outcome.unmeasurable):
            tell(f"{cell}: {why}")
        facts = gather(requirement, store, machine, on_data)
    return facts


def _setting(requirement: Requirement) -> Setting | None:
    """The first engine and precision that is allowed and can run here."""
    for engine, precision in _SETTINGS if requirement.device == "cpu" else _ON_A_GPU:
        allowed = (requirement.engines is None or engine in requirement.engines) and (
            requirement.precisions is None or precision in requirement.precisions
        )
        setup = Setup(engine, precision, device=requirement.device, threads=requirement.threads)
        if allowed and unavailable(setup) is None:
            return engine, precision
    return None


def _next(
    requirement: Requirement, facts: Facts, setting: Setting, tried: Set[tuple[str, Setting]]
) -> Iterator[tuple[str, Setting]]:
    """The networks to measure now, the first one first; none that was tried."""
    here = [one for one in facts.candidates if (one.engine, one.precision) == setting]
    known = {one.model: one.family for one in here if one.is_measured}
    if len(known) < LEAST_NETWORKS or len(set(known.values())) < LEAST_FAMILIES:
        done = set(known) | {model for model, _ in tried}
        for model in _spread(facts.candidates, done):
            yield model, setting
        return
    open_ones = [
        one
        for one in facts.candidates
        if not one.cost_only
        and not breaks(one, requirement)
        and (one.is_measured or (one.model, (one.engine, one.precision)) not in tried)
    ]
    winner = best(open_ones, requirement.prefer, requirement.min_accuracy is not None)
    if winner is not None and not winner.is_measured:
        yield winner.model, (winner.engine, winner.precision)


def _spread(candidates: Sequence[Candidate], known: set[str]) -> list[str]:
    """The cheapest of each family, then the second of each, ... that are not known yet."""
    by_family: dict[str, list[Candidate]] = {}
    for one in {one.model: one for one in candidates}.values():
        by_family.setdefault(one.family, []).append(one)
    ranked = [
        (place, one.gmacs, one.model)
        for some in by_family.values()
        for place, one in enumerate(sorted(some, key=lambda c: c.gmacs))
    ]
    return [model for _, _, model in sorted(ranked) if model not in known]


def _cells(requirement: Requirement, pair: tuple[str, Setting]) -> list[Cell]:
    model, (engine, precision) = pair
    return cells(
        [model],
        [engine],
        [precision],
        [requirement.batch_served],
        threads=requirement.threads,
        device=requirement.device,
    )
