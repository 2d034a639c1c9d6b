"""Which limits a candidate breaks, and by how much."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from vertebra.choice.candidate import Candidate
from vertebra.choice.requirement import Requirement

MEGA = 10**6


@dataclass(frozen=True)
class Axis:
    """One limit: the field of the requirement, what it is called, and a candidate's own value.

    ``most``: the limit is the largest value that is allowed, not the least.
    """

    field: str
    noun: str
    unit: str
    most: bool
    of: Callable[[Candidate], float | None]


@dataclass(frozen=True)
class Break:
    """A limit that is broken: by which value, and by which share of the limit."""

    axis: Axis
    value: float
    limit: float

    @property
    def share(self) -> float:
        """How far beyond the limit, as a share of it; above 0."""
        beyond = self.value - self.limit if self.axis.most else self.limit - self.value
        return beyond / self.limit

    def __str__(self) -> str:
        """As told to the user."""
        axis = self.axis
        bound = "at most" if axis.most else "at least"
        asked = f"{bound} {shown_value(axis, self.limit)} asked for"
        by = f"{100 * self.share:.0f} % beyond"
        return f"{axis.noun} {shown_value(axis, self.value)}, {asked}: {by}"


def shown_value(axis: Axis, value: float) -> str:
    """A value in the unit of its axis."""
    if axis.unit == "%":
        return f"{100 * value:.1f} %"
    shown = f"{value:.3g}" if value < 1000 else f"{value:.0f}"
    return f"{shown}{' ' + axis.unit if axis.unit else ''}"


def typed(axis: Axis, value: float, holds: bool = True) -> str:
    """A limit in three digits as its option takes it: one that ``value`` holds, or just not."""
    digits = 2 - math.floor(math.log10(value))
    scaled = value * 10.0**digits
    whole = math.ceil(scaled) if axis.most == holds else math.floor(scaled)
    limit = whole / 10.0**digits
    step = (1 if axis.most == holds else -1) / 10.0**digits
    beyond = value > limit if axis.most else value < limit
    if beyond == holds:  # by rounding, or since three digits say it exactly
        limit += step
    return f"{limit:.{max(digits, 0)}f}{'' if axis.unit in ('', '%') else f' {axis.unit}'}"


def _milliseconds(candidate: Candidate) -> float | None:
    return None if candidate.cost is None else 1e3 * candidate.cost.seconds


def _throughput(candidate: Candidate) -> float | None:
    return None if candidate.cost is None else candidate.cost.images_per_second


def _memory(candidate: Candidate) -> float | None:
    cost = candidate.cost
    return None if cost is None or cost.memory is None else cost.memory / MEGA


def _file(candidate: Candidate) -> float | None:
    cost = candidate.cost
    return None if cost is None or cost.file is None else cost.file / MEGA


def _accuracy(candidate: Candidate) -> float | None:
    return None if candidate.accuracy is None else candidate.accuracy.value


AXES = (
    Axis("latency_ms", "latency", "ms", True, _milliseconds),
    Axis("throughput", "throughput", "images/s", False, _throughput),
    Axis("memory_mb", "memory", "MB", True, _memory),
    Axis("file_mb", "file", "MB", True, _file),
    Axis("gmacs", "arithmetic", "GMACs", True, lambda candidate: candidate.gmacs),
    Axis("params_m", "size", "M parameters", True, lambda candidate: candidate.params / MEGA),
    Axis("hours", "training", "h", True, lambda candidate: candidate.hours),
    Axis("min_accuracy", "accuracy", "%", False, _accuracy),
)


def breaks(candidate: Candidate, requirement: Requirement) -> list[Break]:
    """The limits that it breaks, by what is known; the worst first."""
    found = []
    for axis in AXES:
        limit, value = getattr(requirement, axis.field), axis.of(candidate)
        if limit is None or value is None:
            continue
        if (value > limit) if axis.most else (value < limit):
            found.append(Break(axis, value, limit))
    return sorted(found, key=lambda broken: -broken.share)


def unknowns(candidate: Candidate, requirement: Requirement) -> list[Axis]:
    """The limits of which nobody knows whether it holds them."""
    return [
        axis
        for axis in AXES
        if getattr(requirement, axis.field) is not None and axis.of(candidate) is None
    ]
