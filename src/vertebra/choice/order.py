"""Which of two candidates is the better one: dominance, and what decides on the front.

Nothing that is dominated can win, whatever a rule of thumb says of it. Among the rest one trades
accuracy for time, at a rate that is told: a network that takes twice as long has to be so much more
accurate. A rule of thumb is worth as much as published accuracies err when they are carried over to
other data, and nothing once there is evidence from the data itself.

So a tighter limit on time, memory, files or size never gives a slower answer, and one more
dominated candidate changes nothing: these limits are on the axes of dominance, hence cut the front
and bring nothing new to it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence

from vertebra.choice.candidate import RANKS, Candidate

# Accuracy that a doubling of the time has to bring, by what the user prefers.
RATES = {"accuracy": 0.0025, "balanced": 0.01, "speed": 0.02}
# Accuracy that a rule's word is worth beside a published one. A choice of ours: published numbers
# are of another data set.
RULE_WORTH = 0.02


def cost_axes(candidate: Candidate) -> tuple[float, ...]:
    """What is better the less it is; unknown is worst."""
    cost = candidate.cost
    if cost is None:
        return (math.inf, math.inf, math.inf, math.inf, candidate.params, candidate.gmacs)
    return (
        cost.seconds,
        -cost.images_per_second,
        math.inf if cost.memory is None else cost.memory,
        math.inf if cost.file is None else cost.file,
        candidate.params,
        candidate.gmacs,
    )


def value(candidate: Candidate) -> float:
    """Its accuracy; where that is unknown, what the rules say."""
    return candidate.accuracy.value if candidate.accuracy else candidate.opinion


def dominates(one: Candidate, other: Candidate) -> bool:
    """Whether ``one`` is as good on every axis and better on some, by evidence of one kind."""
    return one.rank == other.rank and _is_below(_axes(one), _axes(other))


def _axes(candidate: Candidate) -> tuple[float, ...]:
    """All that dominance looks at, the less the better."""
    return (-value(candidate), *cost_axes(candidate))


def _is_below(ours: tuple[float, ...], theirs: tuple[float, ...]) -> bool:
    return ours != theirs and all(map(operator.le, ours, theirs))


def front(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that none dominates, the fastest first; of equal ones all."""
    # Looked up once: of some hundred candidates there are many pairs.
    some = [(one, one.rank, _axes(one)) for one in candidates]
    best = [
        one
        for one, rank, axes in some
        if not any(rank == other and _is_below(theirs, axes) for _, other, theirs in some)
    ]
    return sorted(best, key=lambda one: (cost_axes(one)[0], one.name))


def merit(candidate: Candidate, prefer: str, enough: bool) -> tuple[float, ...]:
    """What the best of a front has most of.

    Args:
        candidate: with its evidence.
        prefer: "balanced", "accuracy" or "speed".
        enough: the accuracy that was asked for is reached, and more of it is worth nothing: the
            smallest that passes is taught as the rule to hold on to.
    """
    seconds = cost_axes(candidate)[0]
    doublings = math.log2(seconds) if 0 < seconds < math.inf else math.inf
    strength = -candidate.rank
    if enough and candidate.accuracy is not None:
        return (strength, -doublings)
    worth = RULE_WORTH * candidate.opinion if candidate.rank >= RANKS.index("published") else 0.0
    if candidate.accuracy is None:
        # Rules come first, since nothing else speaks; then time.
        return (strength, candidate.opinion, -doublings)
    return (strength, candidate.accuracy.value + worth - RATES[prefer] * doublings, -doublings)


def best(candidates: Sequence[Candidate], prefer: str, enough: bool) -> Candidate | None:
    """The one of most merit among those that none dominates; by name where two are equal."""
    some = front(candidates)
    if not some:
        return None
    most = max(merit(one, prefer, enough) for one in some)
    return min((one for one in some if merit(one, prefer, enough) == most), key=lambda c: c.name)
