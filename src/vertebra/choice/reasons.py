"""Why not this one: a line of evidence for every network that is not recommended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from vertebra.choice.candidate import Candidate
from vertebra.choice.limits import AXES, Axis, breaks
from vertebra.choice.opinions import voices
from vertebra.choice.order import RATES, RULE_WORTH, cost_axes, dominates, merit
from vertebra.choice.requirement import Requirement
from vertebra.zoo import get

# What two are compared by, besides their accuracy: the less the better.
_COMPARED = {
    "latency_ms": "time",
    "memory_mb": "memory",
    "file_mb": "file",
    "params_m": "parameters",
}


def why_not(
    candidate: Candidate,
    winner: Candidate | None,
    requirement: Requirement,
    fits: Sequence[Candidate],
) -> str:
    """One line on why ``candidate`` is not what is recommended.

    Args:
        candidate: its model's best engine, by what is known.
        winner: what is recommended; None where nothing is.
        requirement: what was asked.
        fits: all measured candidates within the limits.
    """
    if candidate.cost_only:
        return "int8 calibrated on random images: its cost is known and its accuracy is not"
    broken = breaks(candidate, requirement)
    if broken:
        return f"{broken[0]}{_unsure(broken[0].axis, candidate, requirement)}"
    if candidate.cost is None:
        return "unmeasured, and too little was measured here to predict it"
    if not candidate.is_measured:
        return f"unmeasured: {prediction(candidate, requirement)}"
    better = [other for other in fits if dominates(other, candidate)]
    if better:
        enough = requirement.min_accuracy is not None
        best = max(better, key=lambda one: merit(one, requirement.prefer, enough))
        alone = _in_cost_alone(best, candidate)
        return f"{alone}dominated by {best.name}: {compared(best, candidate)}"
    if winner is None:
        return "nothing is recommended"
    return _beaten(candidate, winner, requirement)


def _in_cost_alone(one: Candidate, other: Candidate) -> str:
    """Where dominance is of cost alone, since nobody knows the accuracy of either."""
    if one.accuracy or other.accuracy:
        return ""
    return "accuracy unknown, and the rules speak no more for it; "


def _unsure(axis: Axis, candidate: Candidate, requirement: Requirement) -> str:
    """What a broken limit rests on, in brackets; "" where that is certain."""
    if axis.field == "hours":
        return " (by other networks' steps)" if candidate.hours_guessed else ""
    if candidate.is_measured or axis.field in ("gmacs", "params_m", "min_accuracy"):
        return ""
    return f" ({prediction(candidate, requirement)})"


def prediction(candidate: Candidate, requirement: Requirement) -> str:
    """What its time is told by, where what was asked for was not measured."""
    assert candidate.cost is not None
    took, error = f"{1e3 * candidate.cost.seconds:.3g} ms", candidate.cost.error
    if not error:
        return f"no {requirement.percentile} was measured; p50 is {took}"
    at = "" if requirement.percentile == "p50" else " at p50"
    return f"predicted {took}{at}, such predictions err by {100 * error:.0f} %"


def compared(one: Candidate, other: Candidate) -> str:
    """How ``one`` is better or worse than ``other``, in words."""
    parts = []
    if one.accuracy and other.accuracy and one.rank == other.rank:
        points = 100 * (one.accuracy.value - other.accuracy.value)
        parts.append(_points(points))
    parts += [part for part in (_part(axis, one, other) for axis in AXES) if part]
    if (one.engine, one.precision) != (other.engine, other.precision):
        parts.append(f"{one.engine} {one.precision} beside {other.engine} {other.precision}")
    return ", ".join(parts) or "equal in all that is known"


def _points(points: float) -> str:
    if abs(points) < 0.05:
        return "as accurate"
    return f"{abs(points):.1f} points {'more' if points > 0 else 'less'} accurate"


def _part(axis: Axis, one: Candidate, other: Candidate) -> str | None:
    noun = _COMPARED.get(axis.field)
    ours, theirs = axis.of(one), axis.of(other)
    if noun is None or not ours or not theirs:
        return None
    ratio = ours / theirs
    noise = max(_margin(one), _margin(other)) if axis.field == "latency_ms" else 0.005
    if abs(ratio - 1) <= noise:
        return f"equal {noun}"
    return f"{ratio:.2f} times the {noun}"


def _margin(candidate: Candidate) -> float:
    return candidate.cost.margin if candidate.cost else 0.0


def _beaten(candidate: Candidate, winner: Candidate, requirement: Requirement) -> str:
    """On the front as the winner is, but of less merit."""
    if candidate.rank > winner.rank:
        kinds = {"published": "ImageNet", "unknown": "nothing", "probe": "a probe", "runs": "runs"}
        known = kinds[candidate.accuracy.kind if candidate.accuracy else "unknown"]
        return f"its accuracy is told by {known} only; {winner.model}'s by stronger evidence"
    text = compared(candidate, winner)
    if requirement.min_accuracy is not None and candidate.accuracy:
        return (
            f"accurate enough as {winner.model} is, and {text}: the smallest that passes is taken"
        )
    hungry = _wants_more_images(candidate, requirement)
    if candidate.accuracy is None:
        if candidate.opinion == winner.opinion:
            return f"accuracy unknown, and the rules speak as much for it: {text}"
        rules = hungry or f"{candidate.opinion:+.2f} beside {winner.opinion:+.2f}"
        return f"accuracy unknown; the rules speak less for it ({rules}): {text}"
    decided = _by_rules(candidate, winner, requirement)
    return f"{text}: {decided or _exchanged(candidate, winner, requirement)}"


def _exchanged(candidate: Candidate, winner: Candidate, requirement: Requirement) -> str:
    """What its other time has to bring, or may cost, at the rate that was asked for."""
    doublings = math.log2(cost_axes(candidate)[0] / cost_axes(winner)[0])
    points = f"{abs(100 * RATES[requirement.prefer] * doublings):.1f} points"
    return (
        f"so much more time has to bring {points}"
        if doublings > 0
        else f"so much less may cost {points}"
    )


def _by_rules(candidate: Candidate, winner: Candidate, requirement: Requirement) -> str:
    """Where it is the rules that decide between two, which ones."""
    without = [merit_without_rules(one, requirement) for one in (candidate, winner)]
    if without[0] <= without[1]:
        return ""
    against = voices(requirement, get(candidate.model), "against")
    prefer = voices(requirement, get(winner.model), "prefers")
    hungry = _wants_more_images(candidate, requirement)
    if hungry:
        return f"{hungry}, worth at most {100 * RULE_WORTH:.0f} points"
    said = dict.fromkeys(v.rule.code for v in (*against, *prefer))
    return f"the rules decide ({', '.join(said)}), worth at most {100 * RULE_WORTH:.0f} points"


def _wants_more_images(candidate: Candidate, requirement: Requirement) -> str:
    """The rule by which so many images are too few for it, with its source; "" if none says so."""
    for verdict in voices(requirement, get(candidate.model), "against"):
        rule = verdict.rule
        # What a rule of weights advises against lacks better weights, not images.
        if rule.where.images is not None and rule.kind != "weights":
            return f"needs more images: {verdict.says} ({rule.code}; {rule.source})"
    return ""


def merit_without_rules(candidate: Candidate, requirement: Requirement) -> tuple[float, ...]:
    """Its merit did no rule speak."""
    enough = requirement.min_accuracy is not None
    return merit(replace(candidate, opinion=0.0), requirement.prefer, enough)
