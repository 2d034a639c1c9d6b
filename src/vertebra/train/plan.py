"""What a run would be, before it is one: ``vertebra train --dry-run``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vertebra.anatomy import Memory, memory_of
from vertebra.core import VertebraError
from vertebra.data import ImageDataset
from vertebra.machine import describe
from vertebra.runs import Recipe
from vertebra.train.group import Group
from vertebra.train.job import Job, prepare_network
from vertebra.train.loop import batches_of
from vertebra.train.own_data import dataset_of
from vertebra.train.rehearse import rehearsal
from vertebra.train.rules import images_at_once, resolve
from vertebra.train.schedule import learning_rate, total_steps
from vertebra.train.start import with_checksums
from vertebra.train.step import train_step
from vertebra.zoo.of_recipe import build

WARM, TIMED = 2, 6  # steps


@dataclass(frozen=True)
class Plan:
    """A run that has not begun.

    Attributes:
        recipe: fully resolved.
        notes: what the user should know of the data.
        images: how many there are to train on.
        steps_per_epoch, total_steps: of the optimiser.
        rates: the learning rate at the first step of each epoch.
        memory: what a training step holds at its largest size, by a rehearsal without numbers;
            None where that cannot be said (compiled, float64, several views of the network).
        beside: bytes that are held besides, by what for: the average of the weights, their copy
            for a sharpness-aware step, the teacher.
        step_seconds: median over a few real batches, reading and augmenting included.
        timed_steps: how many these were.
    """

    recipe: Recipe
    notes: tuple[str, ...]
    images: int
    steps_per_epoch: int
    total_steps: int
    rates: tuple[float, ...]
    memory: Memory | None
    beside: Mapping[str, int]
    step_seconds: float
    timed_steps: int

    @property
    def peak_bytes(self) -> int | None:
        """The most that a training step holds, and what is held besides; see :attr:`memory`."""
        if self.memory is None:
            return None
        return self.memory.training_peak + sum(self.beside.values())

    @property
    def epoch_seconds(self) -> float:
        """Of training, without validation."""
        return self.step_seconds * self.steps_per_epoch

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return {
            "schema": "vertebra.plan/1",
            "recipe": self.recipe.model_dump(mode="json"),
            "notes": list(self.notes),
            "images": self.images,
            "steps_per_epoch": self.steps_per_epoch,
            "total_steps": self.total_steps,
            "rates": list(self.rates),
            "training_peak_bytes": self.peak_bytes,
            "beside_bytes": dict(self.beside),
            "step_seconds": self.step_seconds,
            "epoch_seconds": self.epoch_seconds,
            "timed_steps": self.timed_steps,
        }


def plan(recipe: Recipe) -> Plan:
    """Resolve a recipe and measure what a run by it takes; nothing stays on disk.

    Raises:
        VertebraError: as :func:`vertebra.train.fit` would.
    """
    dataset = dataset_of(recipe)
    resolved = resolve(recipe, dataset, describe())
    section = resolved.train
    with rehearsal(resolved, dataset) as job:
        seconds = _step_seconds(job)
        steps, beside = job.steps, _beside(job)
    total = total_steps(section, steps)
    rates = tuple(learning_rate(section, step, steps) for step in range(0, total, steps))
    return Plan(
        recipe=with_checksums(resolved),
        notes=dataset.notes,
        images=len(dataset.train),
        steps_per_epoch=steps,
        total_steps=total,
        rates=rates,
        memory=_memory(resolved, dataset),
        beside=beside,
        step_seconds=sorted(seconds)[len(seconds) // 2],
        timed_steps=len(seconds),
    )


def _step_seconds(job: Job) -> list[float]:
    """The times of a few steps on the first batches of the run, as they come."""
    seconds: list[float] = []
    began = time.perf_counter()
    for number, batches in enumerate(batches_of(job)(0)):
        train_step(job, batches, job.step_images).loss.item()
        now = time.perf_counter()
        seconds.append(now - began)
        began = now
        if number + 1 == WARM + TIMED:
            break
    return seconds[WARM:] or seconds[-1:]


def _beside(job: Job) -> dict[str, int]:
    """What a run holds that a plain training step does not, in bytes."""
    found = {}
    if job.average is not None:
        found["average of the weights"] = _bytes(job.average.tensors.values())
    if job.recipe.train.sam_rho is not None:
        found["weights before a sharpness-aware step"] = _bytes(job.parameters)
    if job.teacher is not None:
        found["teacher"] = _bytes(job.teacher.net.state_dict().values())
    return found


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _memory(recipe: Recipe, dataset: ImageDataset) -> Memory | None:
    """Of one micro-batch in one process; see :func:`vertebra.anatomy.memory_of`."""
    section = recipe.train
    if section.precision == "fp64" or section.compile:
        return None
    with torch.device("meta"):
        net = build(recipe)
    net = prepare_network(net, recipe, torch.device("meta"), Group())
    sizes = [side for _, side in recipe.data.progressive]
    size = max(sizes, default=recipe.data.image_size or 0)
    kinds = {"sgd": "momentum" if section.momentum else "sgd"}
    try:
        return memory_of(
            net.train(),
            (dataset.channels, size, size),
            images_at_once(recipe, len(dataset.train), 1),
            section.precision or "fp32",
            kinds.get(section.optimizer, section.optimizer),
        )
    except VertebraError:
        return None
