"""What the rules of thumb say of a network, taken together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vertebra.choice.rules import Verdict, verdicts

if TYPE_CHECKING:
    from vertebra.choice.requirement import Requirement
    from vertebra.zoo import Architecture


def opinion(requirement: Requirement, architecture: Architecture) -> float:
    """From -1 (all that speak advise against it) to 1 (all prefer it), 0 where they are silent.

    One more silent voice is counted, so that three rules weigh more than one.
    """
    said = verdicts(requirement, architecture)
    balance = sum(1 if verdict.stance == "prefers" else -1 for verdict in said)
    return balance / (len(said) + 1)


def voices(requirement: Requirement, architecture: Architecture, stance: str) -> list[Verdict]:
    """The rules that take this stance on a network."""
    return [v for v in verdicts(requirement, architecture) if v.stance == stance]
