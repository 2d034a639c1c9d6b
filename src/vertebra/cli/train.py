"""``vertebra train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vertebra.cli import output

if TYPE_CHECKING:
    from vertebra.runs import Recipe, Run


DEFAULT = "scratch-small"


def command(
    data: Annotated[
        str | None, typer.Argument(help="'digits', or a folder with one subfolder a class.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The network; the recipe's if not given.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A built-in recipe (scratch-small if not given), or a run's recipe.yaml."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and augmentation.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE of the recipe; may be repeated.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder; runs/DATA-MODEL if not given.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="A run folder to go on with.")] = None,
    quiet: output.Quiet = False,
    json: output.Json = False,
) -> None:
    """Train a classifier; ends with the run's path."""
    from vertebra.core import VertebraError
    from vertebra.machine import keep_freed_memory

    given = {"data": data, "model": model, "epochs": epochs, "seed": seed}
    others = [changes, out, recipe, *given.values()]
    if resume is not None and any(value not in (None, []) for value in others):
        raise VertebraError("--resume goes on with the run's own recipe; give nothing else with it")
    # Before the slow imports: a mistyped key should not cost five seconds.
    wanted = None if resume is not None else _recipe(recipe or DEFAULT, given, changes or [])
    keep_freed_memory()
    run = _fit(wanted, out, resume, quiet)
    if json:
        from vertebra.cli.summaries import run_document

        output.document(run_document(run))
        return
    _closing(run)


def _recipe(source: str, given: dict[str, Any], changes: list[str]) -> Recipe:
    from vertebra.core import VertebraError
    from vertebra.runs import Recipe
    from vertebra.runs.keys import split_assignment
    from vertebra.runs.recipe import field_path
    from vertebra.zoo import get

    named = {key: value for key, value in given.items() if value is not None}
    file = source.endswith((".yaml", ".yml"))
    if "data" not in named and not file:
        raise VertebraError("what shall it train on? Name 'digits' or a folder of class folders")
    paths = {field_path(key) for key in named}
    for key, value in map(split_assignment, changes):
        if field_path(key) in paths:
            raise VertebraError(f"'{key}' is given twice")
        paths.add(field_path(key))
        named[key] = value
    recipe = Recipe.load(source, **named)
    get(recipe.model.name)
    return recipe


def _fit(recipe: Recipe | None, out: Path | None, resume: Path | None, quiet: bool) -> Run:
    if quiet:
        from vertebra.train import fit

        return fit(recipe, out, resume=resume)
    from vertebra.cli.progress import TrainingProgress

    output.notice("loading PyTorch ...")
    from vertebra.train import fit

    with TrainingProgress(output.console(stderr=True)) as progress:
        return fit(recipe, out, resume=resume, observers=(progress,), tell=output.notice)


def _closing(run: Run) -> None:
    from vertebra.report.words import percent, plural

    rows, test = run.epochs, run.test
    last = rows[-1]
    epochs = plural(last["epoch"], "epoch")
    output.line(f"validation  top-1 {percent(last['val_top1'])} after {epochs}")
    if test:
        best = rows[test["epoch"] - 1]
        if best is not last:
            shown = f"top-1 {percent(best['val_top1'])} after epoch {best['epoch']}"
            output.line(f"            {shown}, the best: judged on test")
        output.line(
            f"test        top-1 {percent(test['top1'])} "
            f"({plural(test['errors'], 'error')} in {test['images']}), "
            f"calibration error {percent(test['ece'])}"
        )
    output.line(f"report      {run.path / 'report.html'}")
    output.line(str(run.path))
