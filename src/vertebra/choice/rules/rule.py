"""What a rule of thumb is: when it holds, and what it says of an architecture."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from vertebra.choice.requirement import Requirement
    from vertebra.zoo import Architecture

# row: one of a table by number of images or budget; habit: what is said in one sentence; capacity:
# of parameters; weights: of pretrained weights; order: of how to search.
Kind = Literal["row", "habit", "capacity", "weights", "order"]
Stance = Literal["prefers", "against", "silent"]

# A limit on a call's time below which one speaks of real time. Nobody teaches a number: this is 20
# images a second.
REAL_TIME_MS = 50.0


@dataclass(frozen=True)
class Where:
    """When a rule holds; what is left open asks for nothing.

    ``words`` says it for people. ``images`` and ``gpus`` are from the first number to below the
    second one, which may be None. ``gmacs``: a limit of at most so many is set. ``real_time``: a
    limit on a call's time of at most :data:`REAL_TIME_MS`. ``above``: more accuracy is asked for
    than this share, or accuracy is preferred.
    """

    words: str
    images: tuple[int, int | None] | None = None
    gpus: tuple[int, int | None] | None = None
    pretrained: bool | None = None
    gmacs: float | None = None
    device: str | None = None
    domain: str | None = None
    must_features: bool | None = None
    real_time: bool = False
    timed: bool = False
    above: float | None = None
    target: bool = False

    def holds(self, requirement: Requirement) -> bool:
        """Whether the requirement is such a one; only images have rules here."""
        asked = requirement
        wanted = {
            "pretrained": self.pretrained,
            "device": self.device,
            "domain": self.domain,
            "must_features": self.must_features,
        }
        return (
            asked.kind == "images"
            and all(v is None or getattr(asked, name) == v for name, v in wanted.items())
            and _within(asked.images, self.images)
            and _within(asked.gpus, self.gpus)
            and (self.gmacs is None or _at_most(asked.gmacs, self.gmacs))
            and (not self.real_time or _at_most(asked.latency_ms, REAL_TIME_MS))
            and (not self.timed or asked.latency_ms is not None)
            and (self.above is None or _asks_above(asked, self.above))
            and (not self.target or asked.min_accuracy is not None)
        )


def _within(number: int | None, span: tuple[int, int | None] | None) -> bool:
    if span is None:
        return True
    low, high = span
    return number is not None and low <= number and (high is None or number < high)


def _at_most(limit: float | None, most: float) -> bool:
    return limit is not None and limit <= most


def _asks_above(requirement: Requirement, share: float) -> bool:
    return requirement.prefer == "accuracy" or (requirement.min_accuracy or 0.0) > share


@dataclass(frozen=True)
class Rule:
    """One rule of thumb. It orders the search and is shown; it overrides no measurement.

    Attributes:
        code: stable, such as "row.under-50k".
        says: the rule in a sentence.
        source: who teaches it.
        where: when it holds.
        kind: see :data:`Kind`.
        prefers, against: wildcards of "FAMILY/NAME".
        answers: it claims to name the network to take, not only where to begin or what to leave.
        doubt: what is known that speaks against it.
    """

    code: str
    says: str
    source: str
    where: Where
    kind: Kind = "habit"
    prefers: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    answers: bool = False
    doubt: str = ""

    def applies(self, requirement: Requirement) -> bool:
        """Whether the rule holds for the requirement."""
        return self.where.holds(requirement)

    def on(self, requirement: Requirement, architecture: Architecture) -> Stance:
        """What the rule says of the architecture; silent where it does not hold."""
        if not self.applies(requirement):
            return "silent"
        if fits(architecture, self.prefers):
            return "prefers"
        return "against" if fits(architecture, self.against) else "silent"

    def sentence(self, requirement: Requirement, architecture: Architecture) -> str:
        """Why it prefers the architecture or advises against it."""
        return self.says

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "code": self.code,
            "kind": self.kind,
            "says": self.says,
            "when": self.where.words,
            "source": self.source,
            "doubt": self.doubt,
        }


@dataclass(frozen=True)
class Verdict:
    """What one rule says of one architecture or its weights; never silent."""

    rule: Rule = field(repr=False)
    stance: Stance
    says: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        rule = self.rule
        return {
            "rule": rule.code,
            "stance": self.stance,
            "says": self.says,
            "source": rule.source,
            "doubt": rule.doubt,
        }


def fits(architecture: Architecture, patterns: Iterable[str]) -> bool:
    """Whether one of the wildcards matches "FAMILY/NAME"."""
    path = f"{architecture.family}/{architecture.name}"
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)
