"""``vertebra predict``."""

from __future__ import annotations

import csv as csv_module
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vertebra.cli import output

if TYPE_CHECKING:
    from vertebra.train import Prediction


def command(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    csv: Annotated[Path | None, typer.Option(help="Write a CSV file instead.")] = None,
    checkpoint: Annotated[str, typer.Option(help="best (by validation) or last.")] = "best",
    quiet: output.Quiet = False,
    json: output.Json = False,
) -> None:
    """Classify images: the five most probable classes of each."""
    from vertebra.runs import Run

    opened = Run.open(run)
    if not quiet:
        output.notice("loading PyTorch ...")
    from vertebra.train import predict

    result = predict(opened, images, checkpoint=checkpoint)
    if not quiet:
        for entry in result.skipped:
            output.notice(f"skipped {entry.id}: {entry.reason}")
    if csv is not None:
        _write_csv(csv, result.predictions)
    if json:
        output.document(
            {
                "schema": "vertebra.predictions/1",
                "run": str(run),
                "predictions": [
                    {"path": str(p.path), "top": [[name, share] for name, share in p.top]}
                    for p in result.predictions
                ],
                "skipped": [vars(entry) for entry in result.skipped],
            }
        )
    elif csv is not None:
        output.line(str(csv))
    else:
        _print(result.predictions)


def _print(predictions: tuple[Prediction, ...]) -> None:
    from vertebra.report.words import percent

    rows = [
        (str(p.path), ", ".join(f"{name} {percent(share, 1)}" for name, share in p.top))
        for p in predictions
    ]
    output.table(("image", "most probable"), rows, text=2)


def _write_csv(path: Path, predictions: tuple[Prediction, ...]) -> None:
    from vertebra.core import VertebraError, replace_file

    places = range(1, 1 + max(len(p.top) for p in predictions))
    text = io.StringIO()
    writer = csv_module.writer(text, lineterminator="\n")
    writer.writerow(["path", *(name for i in places for name in (f"class{i}", f"probability{i}"))])
    for prediction in predictions:
        cells = [cell for name, share in prediction.top for cell in (name, f"{share:.6f}")]
        writer.writerow([str(prediction.path), *cells])
    try:
        replace_file(path, text.getvalue())
    except OSError as error:
        raise VertebraError(f"cannot write {path}: {error.strerror or error}") from None
