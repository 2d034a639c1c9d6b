"""Making a run's folder: where it may lie, and what stands in it before the first step."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from vertebra.core import VertebraError, replace_file, write_json
from vertebra.data import ImageDataset
from vertebra.machine import Machine
from vertebra.runs import Recipe, Run, claimed
from vertebra.runs.claim import LOCK
from vertebra.runs.run import DATA, ENVIRONMENT, RECIPE
from vertebra.train.environment import environment

DEFAULT_PARENT = "runs"
# What a start that failed or was killed before it became a run may have left.
_BEFORE_RECIPE = {LOCK, ENVIRONMENT, DATA}


def make_run(
    recipe: Recipe,
    dataset: ImageDataset,
    out: str | Path | None,
    machine: Machine,
    processes: int,
    tell: Callable[[str], None],
    claims: contextlib.ExitStack,
) -> Run:
    """Make the run folder and claim it.

    Raises:
        VertebraError: it cannot be written, or another run came there first.
    """
    folder = None if out is None else Path(out)
    try:
        folder = folder or _default_folder(recipe)
        folder.mkdir(parents=True, exist_ok=True)
        claims.enter_context(claimed(folder, tell))
        # Reading the images may have taken long; another run may have come here since.
        _check_no_run(folder)
        write_json(folder / ENVIRONMENT, environment(machine, processes))
        write_json(folder / DATA, dataset.card.to_dict())
        # Last, because it is what makes the folder a run.
        replace_file(folder / RECIPE, recipe.to_yaml())
    except OSError as error:
        raise VertebraError(
            f"cannot write to {folder or DEFAULT_PARENT}: {error.strerror or error}"
        ) from None
    return Run.open(folder)


def check_free(out: str | Path | None) -> None:
    """Refuse a folder that a run may not be put into, before the images are looked at.

    Raises:
        VertebraError: it is a file, holds something already, or cannot be written to.
    """
    if out is None:
        _check_writable(Path(DEFAULT_PARENT))
        return
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise VertebraError(f"{folder} is a file; the run needs a folder")
    _check_no_run(folder)
    if folder.is_dir() and any(entry.name not in _BEFORE_RECIPE for entry in folder.iterdir()):
        raise VertebraError(f"{folder} is not empty; name another folder for the run")
    _check_writable(folder)


def _check_no_run(folder: Path) -> None:
    if (folder / RECIPE).exists():
        raise VertebraError(
            f"{folder} holds a run already; go on with it by --resume {folder}, or name another"
        )


def _check_writable(folder: Path) -> None:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise VertebraError(f"cannot write to {folder}: {there} does not allow it")


def _default_folder(recipe: Recipe) -> Path:
    """Make ``runs/DATA-MODEL``, or the first ``runs/DATA-MODEL-2``, ``-3``, ... that is free."""
    data = Path(recipe.data.source.replace(":", "/").rstrip("/"))
    named = data.stem if data.suffix in (".csv", ".tsv", ".parquet", ".tar") else data.name
    base = Path(DEFAULT_PARENT) / f"{named}-{recipe.model.name.replace('/', '-')}"
    folder, number = base, 1
    while True:
        # Making it is the only test that two runs started at once cannot both pass.
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
            folder = base.with_name(f"{base.name}-{number}")
        else:
            return folder
