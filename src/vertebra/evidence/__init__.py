"""What is known of networks: published accuracies with their source, measurements with theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vertebra.evidence.measurement import Conditions, Measurement
from vertebra.evidence.published import Published, published_elsewhere

if TYPE_CHECKING:
    from vertebra.evidence.store import Evidence

__all__ = ["Conditions", "Evidence", "Measurement", "Published", "published_elsewhere"]


def __getattr__(name: str) -> Any:
    # Loaded when it is named: who only reads published rows does not wait for SQLAlchemy.
    if name == "Evidence":
        from vertebra.evidence.store import Evidence

        return Evidence
    raise AttributeError(f"module 'vertebra.evidence' has no attribute {name!r}")
