"""Commands that would settle what is not known, the first one first."""

from __future__ import annotations

from collections.abc import Iterator

from vertebra.choice.candidate import Candidate
from vertebra.choice.cheapest import cheapest_of_each_family
from vertebra.choice.commands import bench, bench_steps, in_turn, runnable_setting
from vertebra.choice.explain import by_merit, perhaps_better
from vertebra.choice.facts import Facts
from vertebra.choice.limits import breaks
from vertebra.choice.requirement import Requirement
from vertebra.choice.rivals import race

_RUNS = 3


def proposed(
    facts: Facts, winner: Candidate | None, requirement: Requirement, data: str | None
) -> Iterator[str]:
    """The commands; ``data``: where the images are."""
    if not facts.models:
        yield from _to_predict_by(facts, requirement)
    if winner is not None:
        if facts.pace.wants_step(winner, requirement):
            yield bench_steps(requirement, winner.model)
        command = in_turn(requirement, race(facts.candidates, winner, requirement))
        if command:
            yield command
        for one in perhaps_better(facts, winner, requirement):
            yield bench(requirement, [one.model], (one.engine, one.precision, one.layout))
    if winner is not None and winner.rank >= 2:
        ranked = by_merit(facts.candidates, requirement)
        some = [one for one in ranked if one.cost is not None and not one.cost_only]
        fitting = [one for one in some if not breaks(one, requirement)]
        for one in fitting[:_RUNS]:
            weights = f" --weights {one.weights}" if one.weights else ""
            yield f"vertebra train {data or 'DATA'} --model {one.model}{weights}"


def _to_predict_by(facts: Facts, requirement: Requirement) -> Iterator[str]:
    """Nothing says yet what most of them cost, so the cheapest, which are measured soonest."""
    setting = runnable_setting(requirement)
    measured = {one.model for one in facts.candidates if one.is_measured}
    names = cheapest_of_each_family(facts.candidates, measured)[:_RUNS]
    if names and setting is not None:
        yield bench(requirement, names, setting)
