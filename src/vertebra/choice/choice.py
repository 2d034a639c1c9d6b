"""The answer to a requirement, with all that speaks for and against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vertebra.choice.candidate import Candidate
from vertebra.choice.gate import Gate
from vertebra.choice.requirement import Requirement


@dataclass(frozen=True)
class Flip:
    """The nearest value of a limit at which another network wins; None becomes: nothing fits."""

    field: str
    value: float
    becomes: Candidate | None
    says: str


@dataclass(frozen=True)
class Choice:
    """What to take, and why not the others.

    Attributes:
        requirement: what was asked.
        gate: what comes before any network; None where nothing does.
        recommended: measured on this machine and within every limit of which that can be told,
            see ``notes``; None where nothing is.
        why: the evidence that speaks for it, a sentence each.
        runner_up: what would be recommended without it.
        front: those within the limits that none dominates, the fastest first.
        why_not: for every other network one line, in the order of their merit.
        nearest: where nothing fits, what breaks the limits least, and which to relax.
        flips: what would change the answer.
        conflicts: rules of thumb that disagree with each other or with a measurement.
        notes: what the user should know of the evidence.
        proposals: commands that would settle what is not known.
        advice: how to train what is recommended (:meth:`.recipe.Advice.to_dict`).
    """

    requirement: Requirement
    gate: Gate | None = None
    recommended: Candidate | None = None
    why: tuple[str, ...] = ()
    runner_up: Candidate | None = None
    front: tuple[Candidate, ...] = ()
    why_not: tuple[tuple[Candidate, str], ...] = ()
    nearest: tuple[str, ...] = ()
    flips: tuple[Flip, ...] = ()
    conflicts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    proposals: tuple[str, ...] = ()
    advice: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data under the names of this class."""
        return {
            "schema": "vertebra.choice/1",
            "requirement": self.requirement.to_dict(),
            "gate": self.gate.to_dict() if self.gate else None,
            "recommended": _plain(self.recommended),
            "why": list(self.why),
            "runner_up": _plain(self.runner_up),
            "front": [_plain(one) for one in self.front],
            "why_not": [{"candidate": _plain(one), "says": says} for one, says in self.why_not],
            "nearest": list(self.nearest),
            "flips": [{**vars(flip), "becomes": _plain(flip.becomes)} for flip in self.flips],
            "conflicts": list(self.conflicts),
            "notes": list(self.notes),
            "proposals": list(self.proposals),
            "advice": dict(self.advice),
        }


def _plain(candidate: Candidate | None) -> dict[str, Any] | None:
    return None if candidate is None else candidate.to_dict()
