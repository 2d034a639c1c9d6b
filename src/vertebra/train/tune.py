"""Precision, layout and compilation by timing a few steps of each: ``vertebra train --tune``.

Without it a fixed rule decides (see :mod:`vertebra.train.rules`): the same command gives the same
numbers. What is measured here is written into the resolved recipe, so a resume or a replay never
measures again; and it is kept by machine, network, input, batch and versions, so that the next run
on this machine takes the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from vertebra.core import VertebraError, replace_file
from vertebra.core.places import cache_folder
from vertebra.data import ImageDataset, steps_per_epoch
from vertebra.machine import Machine, give_back_freed_memory
from vertebra.runs import Recipe
from vertebra.runtime import has_compiler
from vertebra.train.job import sampling_of
from vertebra.train.rehearse import rehearsal, synthetic_batches, timed_step
from vertebra.train.rules import bf16_is_worth_timing, share_of_a_step
from vertebra.train.schedule import total_steps

# Steps: to warm up, then timed, the candidates taking turns.
WARM, TIMED = 2, 5
# What compiling takes at most on two cores for the larger networks, in seconds; a run of less than
# ten times that has nothing to win.
COMPILE_SECONDS = 60.0
FIELDS = ("precision", "channels_last", "compile")


@dataclass(frozen=True)
class Candidate:
    """One way to compute a step."""

    precision: str
    channels_last: bool
    compile: bool = False

    def __str__(self) -> str:
        """As told to the user."""
        parts = [self.precision, "channels_last" if self.channels_last else "contiguous"]
        return ", ".join([*parts, "compiled"] if self.compile else parts)

    def apply(self, recipe: Recipe) -> Recipe:
        """The recipe with this candidate's settings."""
        return recipe.override(**{f"train.{key}": value for key, value in asdict(self).items()})


def tune(
    recipe: Recipe,
    given: Recipe,
    dataset: ImageDataset,
    machine: Machine,
    tell: Callable[[str], None],
    world: int = 1,
) -> Recipe:
    """A resolved recipe with the fastest precision, layout and compilation.

    Args:
        recipe: resolved.
        given: as the user gave it: what it says itself is kept.
        dataset: what it trains on.
        machine: this one.
        tell: called with each candidate's time.
        world: how many processes will train; this one times its share of a batch.
    """
    open_ones = candidates(recipe, given)
    if len(open_ones) == 1 and given.train.compile is not None:
        return recipe
    steps = total_steps(recipe.train, steps_per_epoch(len(dataset.train), sampling_of(recipe)))
    share = share_of_a_step(recipe, len(dataset.train), world)
    file = cache_folder() / "tune" / f"{_key(recipe, given, machine, share, steps)}.json"
    known = _kept(file)
    if known is not None:
        tell(f"fastest here, as measured before: {known}")
        return known.apply(recipe)
    timed = recipe.override(**{"train.batch_size": share})
    times = _measure(timed, open_ones, dataset, tell)
    best = min(times, key=lambda candidate: times[candidate])
    if _may_compile(given, steps * times[best]):
        best = _with_compilation(timed, given, best, dataset, tell)
    tell(f"fastest here: {best}")
    give_back_freed_memory()  # before reading processes are forked
    _keep(file, best)
    return best.apply(recipe)


def candidates(recipe: Recipe, given: Recipe) -> list[Candidate]:
    """What may be tried: all that the user has left open and that is safe, uncompiled.

    fp16 is not: its range is another, so it needs another recipe.
    """
    section, own = recipe.train, given.train
    precisions = [own.precision] if own.precision else ["fp32"]
    if own.precision is None and bf16_is_worth_timing(recipe):
        precisions.append("bf16")
    layouts = [own.channels_last] if own.channels_last is not None else [True, False]
    compiled = bool(section.compile)
    pairs = itertools.product(precisions, layouts)
    return [Candidate(precision, layout, compiled) for precision, layout in pairs]


def _measure(
    recipe: Recipe,
    some: list[Candidate],
    dataset: ImageDataset,
    tell: Callable[[str], None],
) -> dict[Candidate, float]:
    """The median seconds of a step of each; they take turns, so that a drifting machine favours
    none.
    """
    seconds: dict[Candidate, list[float]] = {candidate: [] for candidate in some}
    with contextlib.ExitStack() as stack:
        jobs = {}
        for candidate in some:
            job = stack.enter_context(rehearsal(candidate.apply(recipe), dataset))
            jobs[candidate] = job, synthetic_batches(job)
        for turn in range(WARM + TIMED):
            for candidate in some if turn % 2 == 0 else reversed(some):
                taken = timed_step(*jobs[candidate])
                if turn >= WARM:
                    seconds[candidate].append(taken)
    medians = {candidate: statistics.median(seconds[candidate]) for candidate in some}
    for candidate, median in sorted(medians.items(), key=lambda item: item[1]):
        tell(f"  {1000 * median:8.1f} ms a step  {candidate}")
    return medians


def _may_compile(given: Recipe, seconds: float) -> bool:
    """Whether compiling is left open, possible, and could earn back what it takes in a run that
    lasts so many seconds without.
    """
    return given.train.compile is None and has_compiler() and seconds > 10 * COMPILE_SECONDS


def _with_compilation(
    recipe: Recipe,
    given: Recipe,
    best: Candidate,
    dataset: ImageDataset,
    tell: Callable[[str], None],
) -> Candidate:
    """The best of the uncompiled ones, or a compiled one that is faster.

    What compilation gains hangs on the precision, so each precision of the same layout is tried.
    """
    # Imported here: the compiler takes seconds to load.
    from torch._dynamo.exc import TorchDynamoException

    tell("compiling to compare, which may take some minutes ...")
    options = {best.precision} if given.train.precision else {best.precision, "fp32"}
    some = [Candidate(precision, best.channels_last, True) for precision in sorted(options)]
    try:
        times = _measure(recipe, [best, *some], dataset, tell)
    except TorchDynamoException as error:  # what a compiler cannot do, the run goes on without
        tell(f"compilation failed and is left out: {str(error).splitlines()[0]}")
        return best
    return min(times, key=lambda candidate: times[candidate])


def _key(recipe: Recipe, given: Recipe, machine: Machine, share: int, steps: int) -> str:
    """Everything that the fastest choice hangs on; ``share``: images of a step in this process."""
    train, model, data = recipe.train, recipe.model, recipe.data
    facts: Mapping[str, Any] = {
        "machine": asdict(machine),
        "model": model.model_dump(mode="json"),
        "input": (data.channels, data.image_size),
        "batch": (share, train.micro_batch),
        "train": (train.optimizer, train.device, train.threads, train.checkpointing, train.sam_rho),
        "given": [getattr(given.train, field) for field in FIELDS],
        "steps": steps,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": [version(name) for name in ("vertebra", "torch")],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


def _kept(file: Path) -> Candidate | None:
    try:
        return Candidate(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _keep(file: Path, best: Candidate) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, json.dumps(asdict(best)) + "\n")
    except OSError as error:
        raise VertebraError(f"cannot write to {file.parent}: {error.strerror or error}") from None
