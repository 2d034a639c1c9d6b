"""A dry run, as a person reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vertebra.cli import output
from vertebra.report import count

if TYPE_CHECKING:
    from vertebra.train import Plan

# So many epochs stand in a row of the table of rates.
_COLUMNS = 5


def print_plan(plan: Plan) -> None:
    """The resolved recipe, the rates, the memory, the time."""
    section = plan.recipe.train
    output.document_text(plan.recipe.to_yaml().rstrip("\n"))
    output.line()
    for note in plan.notes:
        output.notice(note)
    rates = [f"{rate:.4g}" for rate in plan.rates]
    columns = min(_COLUMNS, len(rates))
    rows = [
        (f"{first + 1} to {min(first + columns, len(rates))}", *_filled(rates, first, columns))
        for first in range(0, len(rates), columns)
    ]
    output.table(("epoch", "learning rate", *[""] * (columns - 1)), rows, text=0)
    output.line()
    images = count(plan.images)
    output.line(
        f"images      {images} to train on, {section.batch_size} a step, "
        f"{count(plan.steps_per_epoch)} steps an epoch, {count(plan.total_steps)} in all"
    )
    if plan.memory is not None and plan.peak_bytes is not None:
        least = "at least " if plan.memory.partial else ""
        besides = f" with the {' and the '.join(plan.beside)}" if plan.beside else ""
        output.line(
            f"memory      {least}{plan.peak_bytes / 2**30:.2f} GiB for a training step{besides}, "
            f"without the images kept"
        )
    output.line(
        f"time        {1000 * plan.step_seconds:.1f} ms a step (median of {plan.timed_steps}), "
        f"{_duration(plan.epoch_seconds)} an epoch, "
        f"{_duration(plan.step_seconds * plan.total_steps)} in all, without validation"
    )


def _filled(rates: list[str], first: int, columns: int) -> list[str]:
    """A row of the table, the last one filled up."""
    row = rates[first : first + columns]
    return [*row, *[""] * (columns - len(row))]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
