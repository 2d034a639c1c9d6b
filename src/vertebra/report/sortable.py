"""A table that is sorted by a click on a column, without a script: style sheets alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

Cell = tuple[str, float | str | None]


@dataclass(frozen=True)
class Sortable:
    """Rows of cells, each a text and what it is sorted by; None comes last.

    ``text``: so many first columns are words, the others numbers. ``by``: the column that the page
    opens with. ``descending``: columns whose largest value comes first.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    text: int = 1
    by: int = 0
    descending: frozenset[int] = frozenset()

    @property
    def places(self) -> list[str]:
        """For each row its place by each column, as the style sheet's variables."""
        ranks = [self._ranks(column) for column in range(len(self.columns))]
        return [
            ";".join(f"--k{column}:{rank[row]}" for column, rank in enumerate(ranks))
            for row in range(len(self.rows))
        ]

    def _ranks(self, column: int) -> list[int]:
        values = [row[column][1] for row in self.rows]
        known = [row for row, value in enumerate(values) if value is not None]
        known.sort(key=lambda row: _key(values[row]), reverse=column in self.descending)
        unknown = [row for row, value in enumerate(values) if value is None]
        ranks = [0] * len(values)
        for place, row in enumerate([*known, *unknown]):
            ranks[row] = place
        return ranks


def _key(value: float | str | None) -> tuple[float, str]:
    """Numbers before words, should a column hold both."""
    return (0.0, value) if isinstance(value, str) else (value or 0.0, "")


def sortable(
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    text: int = 1,
    by: int = 0,
    descending: Collection[int] = (),
) -> Sortable:
    """The same from any sequences."""
    frozen = tuple(tuple(row) for row in rows)
    return Sortable(tuple(columns), frozen, text, by, frozenset(descending))
