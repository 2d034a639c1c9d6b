"""What a person should act on: one type for whatever finds something, in data or in training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Level = Literal["fault", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing found: a stable code, what it is with its numbers, and the cure.

    A "fault" makes what is measured wrong or loses data, and the command fails by it. A "warning"
    is something to decide on first. A "note" is worth knowing.
    """

    code: str
    level: Level
    what: str
    cure: str
    numbers: dict[str, float] = field(default_factory=dict)
