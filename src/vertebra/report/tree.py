"""Rows that unfold to rows: something whole, its parts, and what these are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One figure of a row; ``share`` of the whole, 0 to 1, is drawn as a bar below it."""

    text: str = ""
    share: float | None = None

    @property
    def width(self) -> str:
        """The bar's, of which 100 % is the whole."""
        return f"{100 * min(max(self.share or 0.0, 0.0), 1.0):.3g}%"

    @property
    def words(self) -> str:
        """The share in words; what is above nothing never reads as nothing."""
        share = self.share or 0.0
        return "<0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


@dataclass(frozen=True)
class Row:
    """A name with what it is, its figures, and the rows that it unfolds to.

    ``prefix`` is the part of the name that it shares with the rows around it. A ``quiet`` row
    steps back: there is little to see in it.
    """

    name: str
    kind: str
    cells: Sequence[Cell]
    children: Sequence[Row] = ()
    prefix: str = ""
    quiet: bool = False
