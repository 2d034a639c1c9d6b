"""Which candidate is taken: measured, within every limit, and best by evidence, then by rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from vertebra.choice.candidate import Candidate
from vertebra.choice.limits import breaks, unknowns
from vertebra.choice.opinions import opinion
from vertebra.choice.order import best
from vertebra.choice.requirement import Requirement
from vertebra.zoo import get


def may_win(candidate: Candidate) -> bool:
    """What is recommended is always measured, and its numbers are of use."""
    return candidate.is_measured and not candidate.cost_only


def decide(candidates: Iterable[Candidate], requirement: Requirement) -> Candidate | None:
    """What is taken of candidates that have what the rules say of them; None where nothing fits."""
    fits = [one for one in candidates if may_win(one) and not breaks(one, requirement)]
    known = [one for one in fits if not _is_doubtful(one, requirement)]
    # An accuracy that nobody knows does not hold a limit, but where no other is known it may.
    return best(known or fits, requirement.prefer, requirement.min_accuracy is not None)


def _is_doubtful(candidate: Candidate, requirement: Requirement) -> bool:
    """Whether it may break a limit for all that is known.

    Hours limit only where they are known: else the first network whose step is measured would win.
    """
    return any(axis.field != "hours" for axis in unknowns(candidate, requirement))


def decide_again(candidates: Sequence[Candidate], requirement: Requirement) -> Candidate | None:
    """The same for a requirement of other numbers, of which the rules may say something else."""
    return decide(with_opinions(candidates, requirement), requirement)


def with_opinions(candidates: Iterable[Candidate], requirement: Requirement) -> list[Candidate]:
    """The candidates with what the rules say of them for this requirement.

    Whatever its limit on time: rules that speak of real time are shown and do not order, else a
    tighter limit could give a slower answer.
    """
    said: dict[str, float] = {}
    at_any_pace = replace(requirement, latency_ms=None)
    for one in candidates:
        if one.model not in said:
            said[one.model] = opinion(at_any_pace, get(one.model))
    return [replace(one, opinion=said[one.model]) for one in candidates]
