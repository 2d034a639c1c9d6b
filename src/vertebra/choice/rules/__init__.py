"""Rules of thumb as data: what is taught of choosing a backbone, by whom, and what is doubtful.

They order the search and are shown, above all where two disagree or one disagrees with a
measurement. They never override a measurement.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from vertebra.choice.rules.capacity import CAPACITY, span
from vertebra.choice.rules.disagreement import Conflict, Coverage, covered, disagreements
from vertebra.choice.rules.habits import HABITS
from vertebra.choice.rules.rows import SCALE, TABLE
from vertebra.choice.rules.rule import Rule, Stance, Verdict, Where
from vertebra.choice.rules.weights import WEIGHTS

if TYPE_CHECKING:
    from vertebra.choice.requirement import Requirement
    from vertebra.zoo import Architecture

RULES: tuple[Rule, ...] = (*TABLE, *SCALE, *HABITS, *CAPACITY, *WEIGHTS)


def verdicts(requirement: Requirement, architecture: Architecture) -> tuple[Verdict, ...]:
    """What each rule says of an architecture, but for those that are silent."""
    stances = ((rule, rule.on(requirement, architecture)) for rule in RULES)
    return tuple(
        Verdict(rule, stance, rule.sentence(requirement, architecture))
        for rule, stance in stances
        if stance != "silent"
    )


def weights_verdicts(
    requirement: Requirement, weights: str, others: Iterable[str]
) -> tuple[Verdict, ...]:
    """What the rules say of pretrained weights beside the others of the same network."""
    beside = tuple(others)
    stances = ((rule, rule.on_weights(requirement, weights, beside)) for rule in WEIGHTS)
    return tuple(Verdict(rule, stance, rule.says) for rule, stance in stances if stance != "silent")


def conflicts(
    requirement: Requirement, architectures: Iterable[Architecture]
) -> tuple[Conflict, ...]:
    """The pairs of rules that disagree about the requirement, as far as these architectures show.

    One advises against all that the other prefers; or both claim to name the network to take, and
    have none in common.
    """
    return disagreements(RULES, requirement, architectures)


__all__ = [
    "RULES",
    "Conflict",
    "Coverage",
    "Rule",
    "Stance",
    "Verdict",
    "Where",
    "conflicts",
    "covered",
    "span",
    "verdicts",
    "weights_verdicts",
]
