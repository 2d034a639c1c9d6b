"""A sweep of learning rates, as a person reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vertebra.cli import output

if TYPE_CHECKING:
    from vertebra.train.lr_finder import RateSweep

# Rows of the table: the first rate, the last, and some between.
_ROWS = 15


def print_sweep(sweep: RateSweep) -> None:
    """The curve, thinned, and what to write into the recipe."""
    last = len(sweep.rates) - 1
    places = sorted({round(place * last / (_ROWS - 1)) for place in range(_ROWS)})
    rows = [
        (f"{sweep.rates[p]:.2e}", f"{sweep.losses[p]:.4f}", f"{sweep.smoothed[p]:.4f}")
        for p in places
    ]
    output.table(("learning rate", "loss", "smoothed"), rows, text=0)
    output.line()
    output.line(f"tried       {len(sweep.rates)} rates; {sweep.stopped}")
    if sweep.scale != 1:
        output.line(f"scaled      the recipe multiplies each by {sweep.scale:g} for its batch")
    found = sweep.suggestion()
    if found is None:
        output.line(f"suggested   none: {sweep.reason()}")
        return
    output.line(f"suggested   --set lr={found:.2g} ({sweep.reason()})")
