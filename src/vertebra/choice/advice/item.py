"""One decision about training, with its reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Item:
    """What to do, why, and who says so.

    Attributes:
        field: what is decided, such as "norm".
        value: in a word or two.
        reason: with the numbers of the requirement, and where teachers disagree.
        source: paper, or who teaches it.
        changes: fields of a recipe that carry it out beyond the built-in recipe that it starts
            from; none where that has it already, or where training decides it by itself.
    """

    field: str
    value: str
    reason: str
    source: str
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "field": self.field,
            "value": self.value,
            "reason": self.reason,
            "source": self.source,
            "changes": dict(self.changes),
        }
