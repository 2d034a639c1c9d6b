"""Where the rules end: what none of them covers, and where two of them disagree."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vertebra.choice.rules.rows import SCALE, TABLE
from vertebra.choice.rules.rule import Rule
from vertebra.report.words import plural

if TYPE_CHECKING:
    from vertebra.choice.requirement import Requirement
    from vertebra.zoo import Architecture


@dataclass(frozen=True)
class Coverage:
    """The taught rows that hold for a requirement.

    ``gap``: why no row of the table by data and compute does, in a sentence; None where one does.
    The scale by images alone may still have one.
    """

    rows: tuple[Rule, ...]
    gap: str | None


@dataclass(frozen=True)
class Conflict:
    """Two rules that disagree about this requirement.

    ``models``: the architectures, of those asked about, on which they do. ``says`` names both.
    """

    one: Rule
    other: Rule
    models: tuple[str, ...]
    says: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        rules = [self.one.code, self.other.code]
        return {"rules": rules, "models": list(self.models), "says": self.says}


def covered(requirement: Requirement) -> Coverage:
    """Which rows hold for the requirement, and whether the table by data and compute has one."""
    rows = tuple(row for row in (*TABLE, *SCALE) if row.applies(requirement))
    if requirement.kind != "images" or any(row in TABLE for row in rows):
        return Coverage(rows, None)
    return Coverage(rows, _gap(requirement, rows))


def _gap(requirement: Requirement, rows: Sequence[Rule]) -> str:
    if requirement.images is None:
        return "how many images there are is not said, so no row by number of images can be read"
    where = "the CPU" if requirement.gpus == 0 else plural(requirement.gpus, "GPU")
    start = "with pretrained weights" if requirement.pretrained else "from scratch"
    near = ", and for ".join(row.where.words for row in _nearest(requirement))
    text = (
        f"no row of the table by data and compute covers {plural(requirement.images, 'image')} "
        f"{start} on {where}: the nearest is for {near}"
    )
    others = "; ".join(f"{row.says} [{row.code}]" for row in rows)
    return f"{text}; by number of images alone: {others}" if others else text


def _nearest(requirement: Requirement) -> list[Rule]:
    """The rows with so many images, or else the next ones on both sides, for such a machine."""
    images = requirement.images or 0
    spans = [(row, row.where.images) for row in TABLE if row.where.images is not None]
    around = [row for row, span in spans if _contains(span, images)]
    if around:
        return around
    fitting = [(row, span) for row, span in spans if _contains_gpus(row, requirement.gpus)]
    below = [(span[1], row) for row, span in fitting if span[1] is not None and span[1] <= images]
    above = [(span[0], row) for row, span in fitting if span[0] > images]
    ends = (max(below, key=_number, default=None), min(above, key=_number, default=None))
    return [end[1] for end in ends if end is not None]


def _number(end: tuple[int, Rule]) -> int:
    return end[0]


def _contains_gpus(row: Rule, gpus: int) -> bool:
    return row.where.gpus is None or _contains(row.where.gpus, gpus)


def _contains(span: tuple[int, int | None], images: int) -> bool:
    return span[0] <= images and (span[1] is None or images < span[1])


def disagreements(
    rules: Iterable[Rule], requirement: Requirement, architectures: Iterable[Architecture]
) -> tuple[Conflict, ...]:
    """Every pair of rules of which, among these architectures, nothing satisfies both.

    One advises against all that the other prefers; or both claim to name the network to take, and
    have none in common. How many parameters a network has names none.
    """
    asked = tuple(architectures)
    said = [_said(rule, requirement, asked) for rule in rules if rule.applies(requirement)]
    found = (_between(one, other) for one, other in itertools.combinations(said, 2))
    return tuple(conflict for conflict in found if conflict is not None)


@dataclass(frozen=True)
class _Said:
    """The names that a rule prefers, and those that it advises against."""

    rule: Rule
    prefers: tuple[str, ...]
    against: tuple[str, ...]


def _said(rule: Rule, requirement: Requirement, asked: Iterable[Architecture]) -> _Said:
    stances = [(entry.name, rule.on(requirement, entry)) for entry in asked]
    named = () if rule.kind == "capacity" else stances
    return _Said(
        rule,
        tuple(name for name, stance in named if stance == "prefers"),
        tuple(name for name, stance in stances if stance == "against"),
    )


def _between(one: _Said, other: _Said) -> Conflict | None:
    for left, right in ((one, other), (other, one)):
        if left.prefers and set(left.prefers) <= set(right.against):
            how = f"the second advises against {_shown(left.prefers)}"
            return _conflict(left, right, left.prefers, how)
    both_answer = one.rule.answers and other.rule.answers and one.prefers and other.prefers
    if not both_answer or set(one.prefers) & set(other.prefers):
        return None
    how = f"the first names {_shown(one.prefers)}, the second {_shown(other.prefers)}"
    return _conflict(one, other, (*one.prefers, *other.prefers), how)


def _conflict(one: _Said, other: _Said, models: tuple[str, ...], how: str) -> Conflict:
    first, second = (f"{said.rule.says} [{said.rule.code}]" for said in (one, other))
    return Conflict(one.rule, other.rule, models, f"{first}, but {second}: {how}")


def _shown(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
