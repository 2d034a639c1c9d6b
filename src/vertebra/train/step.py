"""One step of training.

    give every group of parameters its rate
    for each micro-batch:  forward, loss, backward
    (sharpness-aware: move up the gradient, do that once more, move back)
    unscale the gradients, clip them
    optimiser, average of the weights

Dropout and drop-path are seeded by the step's number, so a resumed run draws what it would have
drawn.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vertebra.core import VertebraError, address, rng
from vertebra.data import Batch, normalise
from vertebra.data.augment import mix
from vertebra.nn.recompute import statistics_kept
from vertebra.runs import Event
from vertebra.train.infer import autocast
from vertebra.train.job import Job
from vertebra.train.loss import Targets, losses
from vertebra.train.nonfinite import spoilt_before, spoilt_by
from vertebra.train.optimizer import set_rates
from vertebra.train.sam import ascended
from vertebra.train.sharding import undivided

# How often a GPU's loss is looked at: reading it makes the GPU wait.
GPU_CHECK_EVERY = 50


@dataclass(frozen=True)
class StepSums:
    """Over a step's images in this process: the loss of the labels, and how many were right."""

    loss: Tensor
    correct: Tensor


class MicroBatch(NamedTuple):
    """One of a step's: its number, its images (N, C, H, W) and the loss of them."""

    place: int
    images: Tensor
    loss: Tensor


def train_step(job: Job, batches: Sequence[Batch], images: int) -> StepSums:
    """One step on this process's micro-batches; ``images`` is the number over all processes.

    Raises:
        VertebraError: the loss is no longer finite.
    """
    section, moment = job.recipe.train, job.moment
    moment.epoch, moment.step, moment.step_images = job.progress.epoch, job.step, images
    moment.learning_rate = set_rates(job.optimizer, section, job.step, job.steps)

    job.optimizer.zero_grad(set_to_none=True)
    sums, total = gradients(job, batches, announced=True)
    if section.sam_rho is not None:
        with ascended(job.parameters, section.sam_rho), statistics_kept(job.net):
            job.optimizer.zero_grad(set_to_none=True)
            gradients(job, batches, announced=False)
    job.scaler.unscale_(job.optimizer)
    job.announce(Event.AFTER_UNSCALING)

    if section.clip_norm is not None:
        norm = torch.nn.utils.clip_grad_norm_(job.parameters, section.clip_norm)
        moment.gradient_norm = undivided(norm)
    job.announce(Event.AFTER_CLIPPING)

    job.scaler.step(job.optimizer)
    job.scaler.update()
    moment.step += 1
    moment.step_loss = job.group.sum(total) / images
    if job.average is not None:
        job.average.update(job.net, moment.step)
    job.announce(Event.AFTER_STEP)
    return sums


def gradients(job: Job, batches: Sequence[Batch], announced: bool) -> tuple[StepSums, Tensor]:
    """Add up the gradients of the mean loss over all images of the step.

    Every micro-batch's loss is a sum over its images divided by their number in the whole step, so
    a short one weighs what its images weigh. Processes average their gradients, hence the factor.

    Returns:
        The sums for the epoch's figures, and the sum of what is minimised.
    """
    step, moment = job.step, job.moment
    correct = torch.zeros((), dtype=torch.int64, device=job.device)
    label_loss = torch.zeros((), dtype=torch.float64, device=job.device)
    total = torch.zeros((), dtype=torch.float64, device=job.device)
    spoilt: MicroBatch | None = None
    for place, batch in enumerate(batches):
        last = place == len(batches) - 1
        images, targets = prepare(job, batch)
        if announced:
            job.announce(Event.BATCH_READY)
        with contextlib.nullcontext() if last else job.unjoined():
            seed_generator(
                job.device, address(job.recipe.seed, "dropout", step, job.group.rank, place)
            )
            with autocast(job.device, job.recipe.train.precision):
                outputs = job.outputs(images)
            taught = None if job.teacher is None else job.teacher.logits(images)
            found = losses(outputs, targets, job.recipe.train, job.class_weights, taught)
            moment.logits, moment.loss = outputs.logits, found.total.detach() / len(batch.labels)
            if announced:
                job.announce(Event.AFTER_FORWARD)
            if is_looked_at(job):
                here = MicroBatch(place, images, found.total.detach())
                spoilt = spoilt or (None if torch.isfinite(here.loss) else here)
                if last:
                    check_finite(job, spoilt, here)
            share = found.total * (job.group.world / moment.step_images)
            job.scaler.scale(share).backward()  # type: ignore[no-untyped-call]
        if announced:
            job.announce(Event.AFTER_BACKWARD)
        label_loss += found.labels.detach().double()
        total += found.total.detach().double()
        likeliest = torch.where(targets.share >= 0.5, targets.first, targets.second)
        correct += (outputs.logits.detach().argmax(1) == likeliest).sum()
    return StepSums(label_loss, correct), total


def prepare(job: Job, batch: Batch) -> tuple[Tensor, Targets]:
    """A micro-batch on its device: normalised images (N, C, H, W), mixed if the recipe mixes."""
    section, moment = job.recipe.train, job.moment
    labels = batch.labels.to(job.device, non_blocking=True)
    images = batch.images.to(job.device, non_blocking=True)
    pixels = normalise(images, job.preprocessing, bool(section.channels_last))
    if section.precision == "fp64":
        pixels = pixels.double()
    moment.images, moment.targets = pixels, labels
    if not (section.mixup or section.cutmix):
        return pixels, Targets.plain(labels)
    # The same share for the whole step, in every process.
    mixed = mix(pixels, labels, section, rng(job.recipe.seed, "mix", job.step))
    layout = torch.channels_last if section.channels_last else torch.contiguous_format
    moment.images = pixels = mixed.images.contiguous(memory_format=layout)
    share = torch.full((len(labels),), mixed.lam, device=job.device)
    return pixels, Targets(mixed.targets_a, mixed.targets_b, share)


def seed_generator(device: torch.device, seed: int) -> None:
    """Seed what dropout draws from on ``device``."""
    if device.type == "cpu":
        # torch.manual_seed also formats a stack trace for every kind of accelerator there might be.
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def is_looked_at(job: Job) -> bool:
    """Whether this step's loss is read before it is learnt from; the same in every process."""
    return job.device.type == "cpu" or job.step % GPU_CHECK_EVERY == 0


def check_finite(job: Job, spoilt: MicroBatch | None, last: MicroBatch) -> None:
    """Stop at a loss that is not finite, before it is learnt from.

    All processes stop together, before the backward pass in which they would wait for each other.

    Args:
        job: the run.
        spoilt: this process's first micro-batch whose loss is not finite.
        last: its last one.

    Raises:
        VertebraError: there is one; names where it began and how to go on.
    """
    if not job.group.most(spoilt is not None)[0]:
        return
    place, images, loss = spoilt or last

    def again() -> None:
        seed = address(job.recipe.seed, "dropout", job.step, job.group.rank, place)
        seed_generator(job.device, seed)
        with autocast(job.device, job.recipe.train.precision):
            job.net.forward_train(images)

    found = job.group.gathered(spoilt_before(job.net, job.optimizer, images))
    if not any(found):
        # By every process: divided networks and synchronised norms run in all of them or in none.
        where = spoilt_by(job.net, again)
        found = job.group.gathered(None if spoilt is None else where)
    values = job.group.gathered(None if spoilt is None else loss.item())
    value = next(value for value in values if value is not None)
    raise nonfinite_error(job, f"the loss became {value}", next(text for text in found if text))


def nonfinite_error(job: Job, what: str, where: str) -> VertebraError:
    """The error for a run whose numbers are no longer finite."""
    run, rate = job.run, job.recipe.train.lr
    at = f"at step {job.step + 1} of epoch {job.progress.epoch + 1}"
    if job.run.has_checkpoint:
        advice = (
            f"{run.checkpoint().name} is from before; go on from its weights in a new run: "
            f"vertebra train --recipe {run.path}/recipe.yaml --set weights={run.path}@last "
            f"--set lr={rate / 4:g}"
        )
    else:
        advice = (
            f"no checkpoint is spoilt, for there is none; start anew with a lower rate: "
            f"vertebra train --recipe {run.path}/recipe.yaml --set lr={rate / 4:g}"
        )
    return VertebraError(f"{what} {at}; first not finite: {where}. {advice}", exit_code=1)
