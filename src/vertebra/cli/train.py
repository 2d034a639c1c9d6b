"""``vertebra train``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vertebra.cli import output

if TYPE_CHECKING:
    from vertebra.runs import Recipe, Run


DEFAULT = "scratch-small"
_DATA = "'digits', a folder of class folders, a manifest (.csv, .parquet), hf:NAME or wds:SHARDS."


def command(
    data: Annotated[str | None, typer.Argument(help=_DATA)] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The network; the recipe's if not given.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="A built-in recipe (scratch-small if not given), or a recipe.yaml."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Where to start: DEFAULT, timm:TAG, a file, or a run.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and augmentation.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE of the recipe; may be repeated.")
    ] = None,
    cache: Annotated[
        str | None, typer.Option(help="Where decoded images are kept: ram, disk or none.")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="Cross-validate: train once with each part held out.")
    ] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="Time precisions and layouts, take the fastest.")
    ] = False,
    track: Annotated[
        list[str] | None, typer.Option(help="tensorboard or mlflow; may be repeated.")
    ] = None,
    find_lr: Annotated[
        bool, typer.Option("--find-lr", help="Only sweep the learning rate and suggest one.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done and what it takes.")
    ] = False,
    shard: Annotated[
        bool, typer.Option("--shard", help="Under torchrun: divide the weights too (FSDP2).")
    ] = False,
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
    given |= {"model.weights": weights, "data.cache": cache, "train.shard": shard or None}
    others = [changes, out, recipe, folds, *given.values()]
    only = [name for name, on in (("--dry-run", dry_run), ("--find-lr", find_lr)) if on]
    if (only or folds is not None) and os.environ.get("WORLD_SIZE", "1") != "1":
        raise VertebraError(
            "torchrun is for training one run; look, and cross-validate, without it"
        )
    if len(only) > 1:
        raise VertebraError(f"{' and '.join(only)} each only look: give one of them")
    useless = {"--tune": tune, "--track": bool(track)}
    if only:
        _refuse(only[0], useless | {"--folds": folds is not None, "--out": out is not None})
    elif folds is not None:
        _refuse("--folds", useless)
    if resume is not None and (any(value not in (None, []) for value in others) or only or tune):
        raise VertebraError("--resume goes on with the run's own recipe; give nothing else with it")
    # Before the slow imports: a mistyped key should not cost five seconds.
    wanted = None if resume is not None else _recipe(recipe or DEFAULT, given, changes or [])
    keep_freed_memory()
    if not quiet:
        _first_notice("loading PyTorch ...")
    if wanted is not None and dry_run:
        _plan(wanted, json)
    elif wanted is not None and find_lr:
        _sweep(wanted, json)
    elif wanted is not None and folds is not None:
        _folds(wanted, folds, out, quiet, json)
    else:
        _train(wanted, out, resume, tune, track or [], quiet, json)


def _refuse(kind: str, useless: dict[str, bool]) -> None:
    """What is given in vain is refused: nobody should believe that it was heeded."""
    from vertebra.core import VertebraError

    there = [name for name, given in useless.items() if given]
    if there:
        raise VertebraError(f"{kind} has no use for {' and '.join(there)}")


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


def _first_notice(text: str) -> None:
    """Said once, not by every process of a group."""
    if os.environ.get("RANK", "0") == "0":
        output.notice(text)


def _train(
    recipe: Recipe | None,
    out: Path | None,
    resume: Path | None,
    tune: bool,
    track: list[str],
    quiet: bool,
    json: bool,
) -> None:
    from vertebra.cli.progress import TrainingProgress
    from vertebra.train import fit

    if quiet:
        run = fit(recipe, out, resume=resume, tune=tune, track=track)
    else:
        with TrainingProgress(output.console(stderr=True)) as progress:
            run = fit(
                recipe,
                out,
                resume=resume,
                tune=tune,
                track=track,
                observers=(progress,),
                tell=output.notice,
            )
    if os.environ.get("RANK", "0") != "0":
        return
    if json:
        from vertebra.cli.summaries import run_document

        output.document(run_document(run))
        return
    _closing(run)


def _plan(recipe: Recipe, json: bool) -> None:
    from vertebra.cli.plan import print_plan
    from vertebra.train import plan

    found = plan(recipe)
    if json:
        output.document(found.to_dict())
        return
    print_plan(found)


def _sweep(recipe: Recipe, json: bool) -> None:
    from vertebra.cli.lr import print_sweep
    from vertebra.train.lr_finder import find_learning_rate

    found = find_learning_rate(recipe)
    if json:
        output.document(found.to_dict())
        return
    print_sweep(found)


def _folds(recipe: Recipe, folds: int, out: Path | None, quiet: bool, json: bool) -> None:
    from vertebra.report.words import percent
    from vertebra.train import cross_validate
    from vertebra.train.folder import DEFAULT_PARENT

    name = f"{Path(recipe.data.source).name}-{recipe.model.name}-folds"
    tell = None if quiet else output.notice
    result = cross_validate(recipe, folds, out or Path(DEFAULT_PARENT) / name, tell=tell)
    if json:
        output.document(result.to_dict())
        return
    rows = [
        (
            fold.run,
            str(fold.epoch),
            percent(fold.val_top1),
            "-" if fold.test_top1 is None else percent(fold.test_top1),
        )
        for fold in result.folds
    ]
    output.table(("run", "best epoch", "validation", "test"), rows)
    output.line(
        f"validation  top-1 {percent(result.mean)}, standard deviation between "
        f"{folds} folds {percent(result.spread)}"
    )
    output.line(str(result.path))


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
