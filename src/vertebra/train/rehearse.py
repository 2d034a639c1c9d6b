"""Steps of a run that is not one: nothing of them stays."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from vertebra.core import rng
from vertebra.data import Batch, ImageDataset
from vertebra.machine import describe
from vertebra.runs import Recipe
from vertebra.train.folder import make_run
from vertebra.train.group import Group
from vertebra.train.job import Job, make_job
from vertebra.train.settings import device_of, settings
from vertebra.train.step import train_step
from vertebra.zoo.of_recipe import build


@contextlib.contextmanager
def rehearsal(recipe: Recipe, dataset: ImageDataset) -> Iterator[Job]:
    """A job by a resolved recipe at its first step, in a folder that goes away."""
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.ExitStack() as claims,
        settings(recipe),
    ):
        out = Path(folder) / "rehearsal"
        run = make_run(recipe, dataset, out, describe(), 1, _say_nothing, claims)
        net = build(recipe, recipe.model.weights)
        job = make_job(run, dataset, net, device_of(recipe), Group(), None, (), _say_nothing)
        job.choose_learners()
        job.enter_training()
        yield job


def synthetic_batches(job: Job) -> list[Batch]:
    """The micro-batches of one step, of random pixels: what a step costs without its images."""
    section = job.recipe.train
    generator = rng(0, "rehearsal")
    images = min(section.batch_size, len(job.dataset.train))
    size, classes = job.preprocessing.size, len(job.dataset.classes)
    batches = []
    while images > 0:
        count = min(images, section.micro_batch or images)
        pixels = generator.integers(
            0, 256, (count, job.preprocessing.channels, size, size), dtype="uint8"
        )
        labels = torch.from_numpy(generator.integers(0, classes, count))
        batches.append(Batch(torch.from_numpy(pixels), labels, torch.zeros(count)))
        images -= count
    return batches


def timed_step(job: Job, batches: list[Batch]) -> float:
    """Seconds of one step on these micro-batches."""
    began = time.perf_counter()
    sums = train_step(job, batches, sum(len(batch.labels) for batch in batches))
    sums.loss.item()  # a GPU has finished when this is known
    return time.perf_counter() - began


def _say_nothing(_text: str) -> None:
    return None
