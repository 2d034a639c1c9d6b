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
    quiet: output.Quiet = False,
    json: output.Json = False,
) -> None:
    """Judge a run: top-1, top-5, every class, confusion, calibration error."""
    from vertebra.runs import Run

    opened = Run.open(run)
    from vertebra.train import evaluate

    result = evaluate(opened, split, data=data, checkpoint=checkpoint)
    if not quiet:
        for entry in result.skipped:
            output.notice(f"skipped {entry.id}: {entry.reason}")
    if json:
        output.document(result.to_dict())
        return
    _print(result)


def _print(result: Evaluation) -> None:
    from vertebra.report.words import count, percent

    scores = result.scores
    rows = [
        (c.name, count(c.images), percent(c.precision, 1), percent(c.recall, 1), percent(c.f1, 1))
        for c in scores.classes
    ]
    output.table(("class", "images", "precision", "recall", "F1"), rows)
    output.line()
    names = [entry.name for entry in scores.classes]
    confused = [
        (int(scores.confusion[i, j]), names[i], names[j])
        for i in range(len(names))
        for j in range(len(names))
        if i != j and scores.confusion[i, j]
    ]
    if len(names) <= 20:
        matrix = [
            (name, *(str(value or "·") for value in row))
            for name, row in zip(names, scores.confusion.tolist(), strict=True)
        ]
        output.table(("confusion: is \\ said", *names), matrix)
    elif confused:
        worst = [(a, b, count(n)) for n, a, b in sorted(confused, reverse=True)[:20]]
        output.table(("it is", "it said", "images"), worst, text=2)
    output.line()
    precision = result.run.recipe.train.precision
    output.line(f"{result.data}, {result.split}: {scores.images} images, {precision}")
    output.line(f"  top-1              {percent(scores.top1)}")
    output.line(f"  top-5              {percent(scores.top5)}")
    output.line(f"  loss               {scores.loss:.4f} nats")
    output.line(f"  calibration error  {percent(scores.ece)} (15 equal bins)")
