"""Whom the winner beats only if times hold that were not taken in turn with its own.

What a network takes at one time and at another differs by more than either measurement's own
interval says: the machine is another by the hour. So before one is taken for a difference in time
that is no larger than that, both have to be measured in turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from vertebra.choice.candidate import Candidate, Cost
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
    """Those that would be taken before the winner were they faster by what :func:`doubt` says; one
    of each network, the best first, at most :data:`MOST`.
    """
    enough = requirement.min_accuracy is not None
    found: dict[str, Candidate] = {}
    faster: list[Candidate] = []
    for one in candidates:
        if one.model == winner.model or not may_win(one):
            continue
        quick = _faster(one, doubt(one, winner))
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


def doubt(one: Candidate, winner: Candidate) -> float:
    """By how much faster one may be beside the winner than their two times say, as a share.

    The drift of hours; and where the machine was slower when the one was measured than when the
    winner was, by the same fixed work, that too: another host may lie under the same name.
    """
    assert one.cost is not None
    assert winner.cost is not None
    return (1 + DRIFT) * max(1.0, slowdown(one.cost, winner.cost)) - 1


def slowdown(cost: Cost, beside: Cost) -> float:
    """How many times as long the machine took for its fixed work when the first cost was measured
    as when the other one was; 1 where either is not known.
    """
    if cost.pace is None or beside.pace is None or cost.pace[0] != beside.pace[0]:
        return 1.0
    return cost.pace[1] / beside.pace[1]


def _faster(candidate: Candidate, share: float) -> Candidate:
    cost = candidate.cost
    assert cost is not None
    return replace(
        candidate,
        cost=replace(
            cost,
            seconds=cost.seconds / (1 + share),
            images_per_second=cost.images_per_second * (1 + share),
        ),
    )
