"""What would change the answer: the nearest limits at which another network wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vertebra.choice.candidate import Candidate
from vertebra.choice.choice import Flip
from vertebra.choice.decide import decide_again, may_win
from vertebra.choice.hours import Pace
from vertebra.choice.limits import AXES, Axis, breaks, typed
from vertebra.choice.requirement import Requirement
from vertebra.zoo import get

# Numbers of images at which taught rows begin or end.
_ROWS = (1_000, 10_000, 50_000, 100_000, 1_000_000)
# Limits whose change is told; arithmetic and size follow from the network alone.
_TOLD = ("latency_ms", "throughput", "memory_mb", "file_mb", "hours", "min_accuracy")


def turning(
    requirement: Requirement, winner: Candidate, candidates: Sequence[Candidate], pace: Pace
) -> list[Flip]:
    """What would change the answer: limits, then numbers of images."""
    some = [one for one in candidates if may_win(one)]
    by_limit = flips(requirement, winner, some)
    return [*by_limit, *flips_by_images(requirement, winner, some, pace)]


def flips(
    requirement: Requirement,
    winner: Candidate,
    candidates: Sequence[Candidate],
) -> list[Flip]:
    """For each limit the nearest value, stricter and looser, at which another one wins."""
    found = []
    for axis in AXES:
        if axis.field not in _TOLD:
            continue
        found += _stricter(axis, requirement, winner, candidates)
        if getattr(requirement, axis.field) is not None:
            found += _looser(axis, requirement, winner, candidates)
    return found


def _stricter(
    axis: Axis, requirement: Requirement, winner: Candidate, candidates: Sequence[Candidate]
) -> list[Flip]:
    """Just beyond what the winner has; nothing in between can change the answer."""
    own = axis.of(winner)
    if own is None or own <= 0:
        return []
    limit = own * (1 - 1e-9) if axis.most else own * (1 + 1e-9)
    if axis.field == "min_accuracy" and (requirement.min_accuracy is None or limit > 1):
        # To ask for an accuracy at all is another question: the fastest that reaches it then wins.
        return []
    becomes = decide_again(candidates, _with(requirement, axis, limit))
    return [_flip(axis, own, becomes, f"{axis.noun} limit of {typed(axis, own, holds=False)}")]


def _looser(
    axis: Axis,
    requirement: Requirement,
    winner: Candidate,
    candidates: Sequence[Candidate],
) -> list[Flip]:
    """The nearest value beyond the limit that lets another candidate in, and that one wins."""
    kept_out = (breaks(one, requirement) for one in candidates)
    # One that breaks another limit, too, stays out.
    beyond = {broken[0].value for broken in kept_out if [one.axis for one in broken] == [axis]}
    for value in sorted((v for v in beyond if v > 0), reverse=not axis.most):
        becomes = decide_again(candidates, _with(requirement, axis, value))
        if becomes is not None and becomes.model != winner.model:
            text = f"{axis.noun} limit of {typed(axis, value)}"
            return [_flip(axis, value, becomes, text)]
    return []


def _with(requirement: Requirement, axis: Axis, limit: float) -> Requirement:
    changed: dict[str, Any] = {axis.field: limit}
    return replace(requirement, **changed)


def _flip(axis: Axis, value: float, becomes: Candidate | None, text: str) -> Flip:
    return Flip(axis.field, value, becomes, f"{text}: {_named(becomes)}")


def _named(candidate: Candidate | None) -> str:
    return candidate.name if candidate else "nothing that was measured fits"


def flips_by_images(
    requirement: Requirement, winner: Candidate, candidates: Sequence[Candidate], pace: Pace
) -> list[Flip]:
    """The nearest numbers of images, fewer and more, at which another one wins: by the rules, or
    because training takes more hours.
    """
    images = requirement.images
    if images is None:
        return []
    found = []
    fewer = [n - 1 for n in reversed(_ROWS) if n <= images and n > (requirement.classes or 1)]
    for numbers in (fewer, [n for n in _ROWS if n > images]):
        for number in numbers:
            asked = replace(requirement, images=number)
            becomes = decide_again([_trained(one, asked, pace) for one in candidates], asked)
            if becomes is None or becomes.model != winner.model:
                bound = "at most" if number < images else "from"
                text = f"{bound} {number} images: {_named(becomes)}"
                found.append(Flip("images", float(number), becomes, text))
                break
    return found


def _trained(candidate: Candidate, requirement: Requirement, pace: Pace) -> Candidate:
    """With the hours of so many images, by the recipe that is advised for as many."""
    if not pace.told:
        return candidate
    hours, guessed = pace.hours(get(candidate.model), requirement, candidate.weights)
    return replace(candidate, hours=hours, hours_guessed=guessed)
