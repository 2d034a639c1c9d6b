"""Labels that look wrong to a network, as plain data; who finds them is above this room."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Suspect:
    """An image whose label is in doubt, and the probabilities of its label and of the other."""

    id: str
    split: str
    label: str
    suggested: str
    label_probability: float
    suggested_probability: float


@dataclass(frozen=True)
class Suspects:
    """``found`` labels in doubt among ``images`` held out from training; the worst of them first.

    ``rows`` are at most the first few hundred. ``run`` is where the network came from.
    """

    run: str
    images: int
    found: int
    rows: tuple[Suspect, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "rows": [asdict(row) for row in self.rows]}
