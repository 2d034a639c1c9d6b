"""A dry run, as a person reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vertebra.cli import output
from vertebra.report import count

if TYPE_CHECKING:
    from vertebra.train import Plan

# More rows of rates than these are thinned: the first, the last, and some between.
_ROWS = 12


def print_plan(plan: Plan) -> None:
    """The resolved recipe, the rates, the memory, the time."""
    section = plan.recipe.train
    output.document_text(plan.recipe.to_yaml().rstrip("\n"))
    output.line()
    for note in plan.notes:
        output.notice(note)
    places = _thinned(len(plan.rates))
    rows = [
        (str(epoch + 1), count(epoch * plan.steps_per_epoch + 1), f"{plan.rates[epoch]:.6g}")
        for epoch in places
    ]
    output.table(("epoch", "from step", "learning rate"), rows, text=0)
    output.line()
    images = count(plan.images)
    output.line(
        f"images      {images} to train on, {section.batch_size} a step, "
        f"{count(plan.steps_per_epoch)} steps an epoch, {count(plan.total_steps)} in all"
    )
    if plan.memory is not None:
        peak = plan.memory.training_peak / 2**30
        least = "at least " if plan.memory.partial else ""
        output.line(
            f"memory      {least}{peak:.2f} GiB for a training step, without the images kept"
        )
    output.line(
        f"time        {1000 * plan.step_seconds:.1f} ms a step (median of {plan.timed_steps}), "
        f"{_duration(plan.epoch_seconds)} an epoch, "
        f"{_duration(plan.step_seconds * plan.total_steps)} in all, without validation"
    )


def _thinned(rows: int) -> list[int]:
    if rows <= _ROWS:
        return list(range(rows))
    return sorted({round(place * (rows - 1) / (_ROWS - 1)) for place in range(_ROWS)})


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
