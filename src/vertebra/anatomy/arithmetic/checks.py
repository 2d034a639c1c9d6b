"""What every function here asks of its arguments."""

from __future__ import annotations

from collections.abc import Sequence

from vertebra.core import VertebraError


def check_counts(least: int, **counts: int) -> None:
    """Raise ``VertebraError`` unless each is a whole number, ``least`` or more."""
    for name, count in counts.items():
        # A bool is an int to Python, and a float would make every result inexact in silence.
        if isinstance(count, bool) or not isinstance(count, int) or count < least:
            label = name.replace("_", " ")
            raise VertebraError(f"{label} must be a whole number, {least} or more; got {count!r}")


def check_axes(**axes: Sequence[int]) -> None:
    """Raise ``VertebraError`` unless each is a sequence of positive whole numbers, one an axis."""
    for name, values in axes.items():
        label = name.replace("_", " ")
        if not isinstance(values, Sequence) or isinstance(values, str) or not values:
            raise VertebraError(f"{label} takes one number an axis, as in (3, 3); got {values!r}")
        for value in values:
            check_counts(1, **{name: value})
