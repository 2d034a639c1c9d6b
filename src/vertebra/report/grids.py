"""Small matrices with their numbers, coloured by sign and size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_STRONGEST = 0.62  # opacity of the largest number: text stays readable on it


@dataclass(frozen=True)
class GridCell:
    """One number, ready to be set."""

    text: str
    sign: str  # a class of the style sheet: "plus", "minus" or ""
    opacity: str
    outside: bool


@dataclass(frozen=True)
class Grid:
    """A matrix of numbers with a caption.

    ``before`` is the sign that stands between it and the one before ("x", "="). ``top`` and
    ``left`` are the names of columns and rows. ``outside`` marks numbers that stand for something
    that is not there, such as padding.
    """

    caption: str
    values: Sequence[Sequence[float]]
    before: str = ""
    top: Sequence[str] = ()
    left: Sequence[str] = ()
    outside: Sequence[Sequence[bool]] | None = None

    @property
    def rows(self) -> list[list[GridCell]]:
        """The cells, numbers to the same decimals."""
        largest = max((abs(value) for row in self.values for value in row), default=0.0)
        return [
            [self._cell(value, largest, row, column) for column, value in enumerate(line)]
            for row, line in enumerate(self.values)
        ]

    def _cell(self, value: float, largest: float, row: int, column: int) -> GridCell:
        sign = "plus" if value > 0 else "minus" if value < 0 else ""
        share = abs(value) / largest if largest else 0.0
        outside = self.outside is not None and self.outside[row][column]
        return GridCell(
            fixed(value, largest), sign, f"{_STRONGEST * share:.2f}".lstrip("0"), outside
        )


def fixed(value: float, largest: float, digits: int = 3) -> str:
    """``value`` with the decimals that give ``largest`` so many digits: (0.1, 12.3) -> "0.1"."""
    if not math.isfinite(value):
        return str(value)
    magnitude = math.floor(math.log10(largest)) if largest > 0 and math.isfinite(largest) else 0
    if not -5 <= magnitude <= 6:
        return f"{value:.{digits - 1}e}".replace("-", "\u2212")
    # Rounded first: what rounds to zero has no sign.
    text = f"{value:.{max(digits - 1 - magnitude, 0)}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "\u2212")
