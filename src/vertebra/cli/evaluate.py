"""``vertebra evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vertebra.cli import output

if TYPE_CHECKING:
    from vertebra.train import Evaluation


def command(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    data: Annotated[
        str | None, typer.Option(help="Other images than the run's own, in class folders.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="train, val or test.")] = None,
    checkpoint: Annotated[str, typer.Option(help="best (by validation) or last.")] = "best",
    tta: Annotated[
        str | None, typer.Option(help="Average over views of each image: flip or ten_crop.")
    ] = None,
    quiet: output.Quiet = False,
    json: output.Json = False,
) -> None:
    """Judge a run: top-1, top-5, every class, confusion, calibration error."""
    from vertebra.runs import Run

    opened = Run.open(run)
    if not quiet:
        output.notice("loading PyTorch ...")
    from vertebra.train import evaluate

    result = evaluate(opened, split, data=data, checkpoint=checkpoint, tta=tta)
    if not quiet:
        for note in result.notes:
            output.notice(note)
        for entry in result.skipped:
            output.notice(f"skipped {entry.id}: {entry.reason}")
    if json:
        output.document(result.to_dict())
        return
    _print(result)


def _print(result: Evaluation) -> None:
    from vertebra.report.words import percent
    from vertebra.train import tables

    scores = result.scores
    output.table(tables.CLASS_COLUMNS, tables.class_rows(scores.classes))
    output.line()
    names = [entry.name for entry in scores.classes]
    if len(names) <= tables.MATRIX_CLASSES:
        matrix = [
            (name, *(str(value or "·") for value in row))
            for name, row in zip(names, scores.confusion.tolist(), strict=True)
        ]
        output.table(("confusion: is \\ said", *names), matrix)
    elif scores.errors:
        output.table(tables.CONFUSED_COLUMNS, tables.confused_rows(scores), text=2)
    output.line()
    precision = result.run.recipe.train.precision
    views = "" if result.tta is None else f", mean over the views of {result.tta}"
    output.line(
        f"{result.data}, {result.split}: {scores.images} images, {result.checkpoint} checkpoint "
        f"(epoch {result.epoch}), {precision} on {result.device}{views}"
    )
    output.line(f"  top-1              {percent(scores.top1)}")
    output.line(f"  top-5              {percent(scores.top5)}")
    output.line(f"  loss               {scores.loss:.4f} nats")
    output.line(f"  calibration error  {percent(scores.ece)} (15 equal bins)")
