"""From a recipe to a run folder."""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from vertebra.core import STOPPED, Notice, VertebraError
from vertebra.data import ImageDataset, check_readable
from vertebra.machine import Machine, describe
from vertebra.runs import Observer, Recipe, Run, claimed
from vertebra.runs.run import METRICS, RECIPE, TIMING
from vertebra.train.checkpoint import load_checkpoint
from vertebra.train.environment import environment
from vertebra.train.folder import check_free, make_run
from vertebra.train.group import Group, joined
from vertebra.train.interrupt import catching
from vertebra.train.job import make_job
from vertebra.train.loop import restore, train
from vertebra.train.observers import MetricsLog, TimingLog
from vertebra.train.own_data import dataset_of, unchanged_dataset
from vertebra.train.rules import check_device, resolve
from vertebra.train.settings import device_of, settings
from vertebra.train.start import check_teacher, check_weights, with_checksums
from vertebra.train.summary import finish
from vertebra.train.teacher import teacher_of
from vertebra.train.tracking import check_trackers, trackers_of
from vertebra.train.tune import tune as tuned
from vertebra.zoo.of_recipe import build

Tell = Callable[[str], None]
Value = TypeVar("Value")


class Stopped(VertebraError):  # noqa: N818 - not an error of anybody's
    """The user stopped the run; the message says how to go on."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=STOPPED)


def fit(
    recipe: Recipe | None = None,
    out: str | Path | None = None,
    *,
    resume: str | Path | None = None,
    tune: bool = False,
    track: Sequence[str] = (),
    observers: Sequence[Observer] = (),
    tell: Tell | None = None,
) -> Run:
    """Train by a recipe, or go on with a run that was stopped or killed.

    Started by ``torchrun``, all processes train one run together; rank 0 writes it.

    Args:
        recipe: what to train on what and how; fields left open are decided by fixed rules.
        out: the run folder to make; None: ``runs/DATA-MODEL``, numbered if that is taken.
        resume: a run folder to go on with instead, from its last checkpoint, to the same numbers as
            if it had never stopped.
        tune: choose precision, layout and compilation by timing a few steps of each, where the
            recipe leaves them open; see :mod:`vertebra.train.tune`.
        track: "tensorboard", "mlflow": follow the run there too; a resumed run goes on there.
        observers: who watches; see :mod:`vertebra.runs.events`. In rank 0 only.
        tell: called with each thing the user should know (an image skipped, ...).

    Returns:
        The finished run: metrics, checkpoints and ``report.html``.

    Raises:
        VertebraError: bad data, a recipe that does not fit it, a folder that cannot be written
            (no run folder is left behind); or, with ``resume``, data that is not what it was; or
            numbers that are no longer finite.
        Stopped: Ctrl-C or SIGTERM; the run can be resumed.
    """
    if (recipe is None) == (resume is None):
        raise VertebraError("fit takes a recipe or a run to resume, one of the two")
    if resume is not None and tune:
        raise VertebraError("a resumed run keeps what it began with; give no tune with resume")
    if resume is not None and out is not None:
        raise VertebraError("a resumed run stays in its folder; give no out with resume")
    check_trackers(track)
    resume = resume or _to_restart(out)
    with joined() as group, contextlib.ExitStack() as claims:
        tell = tell if tell is not None and group.is_first else _say_nothing
        run, dataset = _opened(recipe, out, resume, tune, group, tell, claims)
        with _machine_limits_speak(run):
            watching = (observers, track) if group.is_first else ((), ())
            return _run(run, dataset, *watching, tell, group)


def _to_restart(out: str | Path | None) -> Path | None:
    """The run of a group that ``torchrun`` starts again, if it had come so far.

    Raises:
        VertebraError: it could not be found again.
    """
    if int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) == 0:
        return None
    if out is None:
        raise VertebraError("under torchrun --max-restarts a run needs --out, to be found again")
    again = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
    return Path(out) if again and (Path(out) / RECIPE).exists() else None


def _opened(
    recipe: Recipe | None,
    out: str | Path | None,
    resume: str | Path | None,
    tune: bool,
    group: Group,
    tell: Tell,
    claims: contextlib.ExitStack,
) -> tuple[Run, ImageDataset]:
    """The run and its data: rank 0 makes or claims the folder, the others open it."""

    def prepare() -> tuple[Run, ImageDataset]:
        machine = describe()
        if resume is not None:
            run = Run.open(resume)
            claims.enter_context(claimed(run.path, tell))
            check_device(run.recipe.train.device or "cpu")
            check_teacher(run.recipe)
            if not run.has_checkpoint:
                check_weights(run.recipe)
            _tell_of_changes(run, machine, group, tell)
            return run, unchanged_dataset(run)
        assert recipe is not None
        check_free(out)
        dataset = dataset_of(recipe)
        check_readable(dataset.train)
        resolved = resolve(recipe, dataset, machine, group)
        _tell_of(resolved, dataset, group, tell)
        _check_start(resolved, dataset)
        resolved = with_checksums(resolved)
        if tune:
            resolved = tuned(resolved, recipe, dataset, machine, tell, group.world)
        run = make_run(resolved, dataset, out, machine, group.world, tell, claims)
        return run, dataset

    if group.is_alone:
        return prepare()
    opened = _first_speaks(group, prepare if group.is_first else None)
    if opened is not None:
        group.from_first(str(opened[0].path))
        return opened
    run = Run.open(group.from_first(""))
    return run, unchanged_dataset(run)


def _check_start(recipe: Recipe, dataset: ImageDataset) -> None:
    """Refuse weights that do not fit, and a teacher of something else, before there is a folder."""
    if recipe.model.weights is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Notice)  # said when they are loaded to be trained
            build(recipe, recipe.model.weights)
    teacher_of(recipe, dataset.classes, recipe.preprocessing, torch.device("cpu"))


def _first_speaks(group: Group, work: Callable[[], Value] | None) -> Value | None:
    """Rank 0's result, None elsewhere; an error of rank 0's is every rank's."""
    result, error = None, None
    if work is not None:
        try:
            result = work()
        except VertebraError as met:
            error = met
    error = group.from_first(error)
    if error is not None:
        raise error
    return result


def _run(
    run: Run,
    dataset: ImageDataset,
    observers: Sequence[Observer],
    track: Sequence[str],
    tell: Tell,
    group: Group,
) -> Run:
    """Train what is left, then judge and report."""

    def farewell() -> str:
        saved = run.checkpoint().name if run.has_checkpoint else "the start"
        return f"stopped; go on from {saved} with: vertebra train --resume {run.path}"

    with settings(run.recipe), catching(farewell if group.is_first else str) as interrupt:
        checkpoint = load_checkpoint(run) if run.has_checkpoint else None
        if checkpoint is None:
            tell(f"{run.path} starts at step 0")
        keep = checkpoint.state["metrics_bytes"] if checkpoint else 0
        with contextlib.ExitStack() as files:
            log = None
            if group.is_first:
                log = files.enter_context(contextlib.closing(MetricsLog(run.path / METRICS, keep)))
                trackers = [files.enter_context(each) for each in trackers_of(run, track, tell)]
                observers = (log, TimingLog(run.path / TIMING), *trackers, *observers)
            net = build(run.recipe, None if checkpoint else run.recipe.model.weights)
            device = device_of(run.recipe, None if group.is_alone else group.local)
            job = make_job(run, dataset, net, device, group, log, observers, tell)
            if checkpoint is not None:
                restore(job, checkpoint)
                tell(f"{run.path} goes on at step {job.step}")
            if not train(job, interrupt):
                raise Stopped(farewell())
            if group.is_first:
                finish(job)
            group.wait()
    return run


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
        if str(error).startswith("DataLoader worker"):
            raise VertebraError(
                f"a process that reads images for {run.path} was ended from outside, for lack of "
                f"memory perhaps; go on with: vertebra train --resume {run.path}",
                exit_code=1,
            ) from None
        # The CPU's allocator has no error type of its own.
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate" not in str(error):
            raise
        raise VertebraError(
            f"out of memory in {run.path}: {str(error).splitlines()[0]}; "
            f"start anew with train.micro_batch below train.batch_size, or a smaller "
            f"data.image_size"
        ) from None


def _tell_of(recipe: Recipe, dataset: ImageDataset, group: Group, tell: Tell) -> None:
    for note in dataset.notes:
        tell(note)
    images, batch = len(dataset.train), recipe.train.batch_size
    if images < batch:
        tell(f"a batch of {batch} is more than the {images} training images: a step has them all")
    if recipe.train.shard and group.is_alone:
        tell(
            "train.shard divides weights between processes, and this is one alone: it does nothing"
        )


def _tell_of_changes(run: Run, machine: Machine, group: Group, tell: Tell) -> None:
    """What differs from where the run began: there the numbers go on in other last digits."""
    then, now = run.environment, environment(machine, group.world)
    for what in ("packages", "machine", "gpu"):
        # Through JSON, which knows no tuples.
        if then.get(what) != json.loads(json.dumps(now[what])):
            tell(f"{what} changed since the run began: its numbers will differ in the last digits")
    if then.get("processes") != group.world:
        tell(
            f"{then.get('processes')} processes began the run and {group.world} go on: what hangs "
            f"on who has which images (batch norm, dropout, MixUp) is drawn otherwise from here on"
        )


def _say_nothing(_text: str) -> None:
    return None
