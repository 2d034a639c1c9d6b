"""From a recipe to a run folder."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from vertebra.core import STOPPED, VertebraError, replace_file, write_json
from vertebra.data import ImageDataset, open_dataset, steps_per_epoch
from vertebra.machine import Machine, describe
from vertebra.runs import Moment, Observer, Recipe, Run, claimed
from vertebra.runs.claim import LOCK
from vertebra.runs.run import DATA, ENVIRONMENT, METRICS, RECIPE, TIMING
from vertebra.train.checkpoint import load_checkpoint
from vertebra.train.environment import environment
from vertebra.train.interrupt import catching
from vertebra.train.loop import Job, restore, train
from vertebra.train.observers import MetricsLog, TimingLog
from vertebra.train.optim import WeightAverage, make_optimizer
from vertebra.train.own_data import unchanged_dataset
from vertebra.train.rules import check_device, resolve
from vertebra.train.settings import device_of, settings
from vertebra.train.summary import finish
from vertebra.zoo.of_recipe import build

Tell = Callable[[str], None]
DEFAULT_PARENT = "runs"
# What a start that failed or was killed before it became a run may have left.
_BEFORE_RECIPE = {LOCK, ENVIRONMENT, DATA}


class Stopped(VertebraError):  # noqa: N818 - not an error of anybody's
    """The user stopped the run; the message says how to go on."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=STOPPED)


def fit(
    recipe: Recipe | None = None,
    out: str | Path | None = None,
    *,
    resume: str | Path | None = None,
    observers: Sequence[Observer] = (),
    tell: Tell | None = None,
    checking: Callable[[int, int], None] | None = None,
) -> Run:
    """Train by a recipe, or go on with a run that was stopped or killed.

    Args:
        recipe: what to train on what and how; fields left open are decided by fixed rules.
        out: the run folder to make; None: ``runs/DATA-MODEL``, numbered if that is taken.
        resume: a run folder to go on with instead, from its last checkpoint, to the same numbers as
            if it had never stopped.
        observers: who watches; see :mod:`vertebra.runs.events`.
        tell: called with each thing the user should know (an image skipped, ...).
        checking: called with (checked, total) while image files are checked.

    Returns:
        The finished run: metrics, checkpoints and ``report.html``.

    Raises:
        VertebraError: bad data, a recipe that does not fit it, a folder that cannot be written
            (no run folder is left behind); or, with ``resume``, data that is not what it was.
        Stopped: Ctrl-C; the run can be resumed.
    """
    if (recipe is None) == (resume is None):
        raise VertebraError("fit takes a recipe or a run to resume, one of the two")
    if resume is not None and out is not None:
        raise VertebraError("a resumed run stays in its folder; give no out with resume")
    tell = tell or _say_nothing
    machine = describe()
    with contextlib.ExitStack() as claims:
        if resume is not None:
            run = Run.open(resume)
            claims.enter_context(claimed(run.path, tell))
            check_device(run.recipe.train.device or "cpu")
            _tell_of_changes(run, machine, tell)
            dataset = unchanged_dataset(run)
        else:
            assert recipe is not None
            resolved, dataset = _prepare(recipe, out, machine, tell, checking)
            run = _begin(resolved, dataset, out, machine, tell, claims)
        with _machine_limits_speak(run):
            return _run(run, dataset, observers, tell)


def _prepare(
    recipe: Recipe,
    out: str | Path | None,
    machine: Machine,
    tell: Tell,
    checking: Callable[[int, int], None] | None,
) -> tuple[Recipe, ImageDataset]:
    """Check everything that can be checked before there is a run folder."""
    if out is None:
        _check_writable(Path(DEFAULT_PARENT))
    else:
        _check_free(Path(out))
    data = recipe.data
    dataset = open_dataset(
        data.source,
        data.split_seed,
        channels=data.channels,
        progress=checking,
        keep_gib=data.keep_gib,
    )
    _tell_of(dataset, tell)
    return resolve(recipe, dataset, machine), dataset


def _begin(
    recipe: Recipe,
    dataset: ImageDataset,
    out: str | Path | None,
    machine: Machine,
    tell: Tell,
    claims: contextlib.ExitStack,
) -> Run:
    """Make the run folder and claim it."""
    folder = None if out is None else Path(out)
    try:
        folder = folder or _default_folder(recipe)
        folder.mkdir(parents=True, exist_ok=True)
        claims.enter_context(claimed(folder, tell))
        # Reading the images may have taken long; another run may have come here since.
        _check_no_run(folder)
        write_json(folder / ENVIRONMENT, environment(machine))
        write_json(folder / DATA, dataset.card.to_dict())
        # Last, because it is what makes the folder a run.
        replace_file(folder / RECIPE, recipe.to_yaml())
    except OSError as error:
        raise VertebraError(
            f"cannot write to {folder or DEFAULT_PARENT}: {error.strerror or error}"
        ) from None
    return Run.open(folder)


def _run(run: Run, dataset: ImageDataset, observers: Sequence[Observer], tell: Tell) -> Run:
    """Train what is left, then judge and report."""
    recipe = run.recipe

    def farewell() -> str:
        saved = run.checkpoint().name if run.has_checkpoint else "the start"
        return f"stopped; go on from {saved} with: vertebra train --resume {run.path}"

    with settings(recipe), catching(farewell) as interrupt:
        checkpoint = load_checkpoint(run) if run.has_checkpoint else None
        if checkpoint is None:
            tell(f"{run.path} starts at step 0")
        keep = checkpoint.state["metrics_bytes"] if checkpoint else 0
        log = MetricsLog(run.path / METRICS, keep)
        with contextlib.closing(log):
            timing = TimingLog(run.path / TIMING)
            job = _job(run, dataset, log, (log, timing, *observers))
            if checkpoint is not None:
                restore(job, checkpoint)
                tell(f"{run.path} goes on at step {job.moment.step}")
            if not train(job, interrupt):
                raise Stopped(farewell())
            finish(job)
    return run


def _job(run: Run, dataset: ImageDataset, log: MetricsLog, observers: Sequence[Observer]) -> Job:
    recipe = run.recipe
    section = recipe.train
    device = device_of(recipe)
    net = build(recipe).to(device)
    if section.channels_last:
        net = net.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(net, section)
    steps = steps_per_epoch(len(dataset.train), section.batch_size)
    return Job(
        recipe=recipe,
        run=run,
        dataset=dataset,
        net=net,
        optimizer=optimizer,
        average=WeightAverage(net, section.ema_decay) if section.ema_decay else None,
        device=device,
        preprocessing=run.preprocessing,
        steps=steps,
        log=log,
        observers=observers,
        moment=Moment(recipe, net, optimizer, steps_per_epoch=steps),
    )


def _check_free(folder: Path) -> None:
    """Refuse a folder that a run may not be put into.

    Raises:
        VertebraError: it is a file, holds something already, or cannot be written to.
    """
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
    """Before the images are read, which may take long: could the run folder be made here?"""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise VertebraError(f"cannot write to {folder}: {there} does not allow it")


def _default_folder(recipe: Recipe) -> Path:
    """Make ``runs/DATA-MODEL``, or the first ``runs/DATA-MODEL-2``, ``-3``, ... that is free."""
    base = Path(DEFAULT_PARENT) / f"{Path(recipe.data.source).name}-{recipe.model.name}"
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


@contextlib.contextmanager
def _machine_limits_speak(run: Run) -> Iterator[None]:
    """A full disk and a full memory are the user's to mend."""
    try:
        yield
    except OSError as error:
        where = error.filename or run.path
        raise VertebraError(
            f"{where}: {error.strerror or error}; once that is mended, "
            f"go on with: vertebra train --resume {run.path}"
        ) from None
    except RuntimeError as error:
        # The CPU's allocator has no error type of its own.
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate" not in str(error):
            raise
        raise VertebraError(
            f"out of memory in {run.path}: {str(error).splitlines()[0]}; "
            f"start anew with a smaller train.batch_size or data.image_size"
        ) from None


def _tell_of(dataset: ImageDataset, tell: Tell) -> None:
    for note in dataset.notes:
        tell(note)
    if dataset.skipped:
        first = dataset.skipped[0]
        count = len(dataset.skipped)
        rest = f" and {count - 1} more, all named in {DATA}" if count > 1 else f", named in {DATA}"
        tell(f"skipped an image that cannot be decoded: {first.id} ({first.reason}){rest}")


def _tell_of_changes(run: Run, machine: Machine, tell: Tell) -> None:
    """What differs from where the run began: there the numbers go on in other last digits."""
    then, now = run.environment, environment(machine)
    for what in ("packages", "machine", "gpu"):
        # Through JSON, which knows no tuples.
        if then.get(what) != json.loads(json.dumps(now[what])):
            tell(f"{what} changed since the run began: its numbers will differ in the last digits")


def _say_nothing(_text: str) -> None:
    return None
