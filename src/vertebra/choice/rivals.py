"""Whom the winner beats only if times hold that were not taken in turn with its own.

What a network takes at one time and at another differs by more than either measurement's own
interval says: the machine is another by the hour. So before one is taken for a difference in time
that is no larger than that, both have to be measured in turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from vertebra.choice.candidate import Candidate
from vertebra.choice.decide import may_win
from vertebra.choice.limits import breaks
from vertebra.choice.order import best
from vertebra.choice.requirement import Requirement

# How far apart two times of one network at two hours are, but for a fifth of them
# (docs/benchmarks.md).
DRIFT = 0.25
# The most that are measured in turn with the winner: one group of the bench holds as many.
MOST = 5


def race(
    candidates: Sequence[Candidate], winner: Candidate, requirement: Requirement
) -> list[Candidate]:
    """Those that have to take turns: the winner and all that are near, also those that took turns
    with it before, since each has one time, the newest; none where nothing is left to tell apart.
    """
    if not rivals(candidates, winner, requirement):
        return []
    return [winner, *near(candidates, winner, requirement)]


def rivals(
    candidates: Iterable[Candidate], winner: Candidate, requirement: Requirement
) -> list[Candidate]:
    """Those of :func:`near` that were not measured in turn with the winner."""
    assert winner.cost is not None
    turns = winner.cost.turns
    some = near(candidates, winner, requirement)
    return [one for one in some if turns is None or one.cost is None or one.cost.turns != turns]


def near(
    candidates: Iterable[Candidate], winner: Candidate, requirement: Requirement
) -> list[Candidate]:
    """Those that would be taken before the winner were they :data:`DRIFT` faster; one of each
    network, the best first, at most :data:`MOST`.
    """
    enough = requirement.min_accuracy is not None
    found: dict[str, Candidate] = {}
    faster: list[Candidate] = []
    for one in candidates:
        if one.model == winner.model or not may_win(one):
            continue
        quick = _faster(one)
        if breaks(quick, requirement):
            continue
        if best([winner, quick], requirement.prefer, enough) is quick:
            faster.append(quick)
            found[quick.name] = one
    ranked: dict[str, Candidate] = {}
    while faster and len(ranked) < MOST:
        first = best(faster, requirement.prefer, enough)
        assert first is not None
        ranked[first.model] = found[first.name]
        faster = [one for one in faster if one.model != first.model]
    return list(ranked.values())


def _faster(candidate: Candidate) -> Candidate:
    cost = candidate.cost
    assert cost is not None
    return replace(
        candidate,
        cost=replace(
            cost,
            seconds=cost.seconds / (1 + DRIFT),
            images_per_second=cost.images_per_second * (1 + DRIFT),
        ),
    )
