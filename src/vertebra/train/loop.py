"""The training loop.

    for each epoch left:
        for each batch left in it:
            step:  forward, loss, backward, optimiser, average of the weights
            if the user asked to stop: save, stop
            if the last save is long ago: save
        validate
        save, as the best one if it is

Dropout and drop-path are seeded at every step by its number, so a resumed run draws what it would
have drawn.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from vertebra.core import Preprocessing, address
from vertebra.data import (
    ImageDataset,
    normalise,
    training_batches,
)
from vertebra.nn import Backbone
from vertebra.runs import Event, Moment, Observer, Recipe, Run
from vertebra.train.checkpoint import Checkpoint, save_checkpoint
from vertebra.train.infer import autocast, classify_split, output_names
from vertebra.train.interrupt import Interrupt
from vertebra.train.observers import MetricsLog
from vertebra.train.optim import WeightAverage, learning_rate
from vertebra.train.scores import score

# Seconds of work that a kill may cost at most, whatever an epoch takes. When a run is saved changes
# none of its numbers.
SAVE_EVERY = 300.0


@dataclass
class Progress:
    """How far a run is; with weights and optimiser, all that resuming needs.

    The sums are over the present epoch's batches so far.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    best_top1: float = -1.0
    best_loss: float = math.inf


@dataclass
class Job:
    """One run in memory."""

    recipe: Recipe
    run: Run
    dataset: ImageDataset
    net: Backbone
    optimizer: Optimizer
    average: WeightAverage | None
    device: torch.device
    preprocessing: Preprocessing
    steps: int
    log: MetricsLog
    observers: Sequence[Observer]
    moment: Moment
    progress: Progress = field(default_factory=Progress)
    saved_at: float = field(default_factory=time.monotonic)

    def announce(self, event: Event) -> None:
        """Tell every observer."""
        for observer in self.observers:
            observer.on(event, self.moment)


def train(job: Job, interrupt: Interrupt) -> bool:
    """Run the epochs that are left; False if the user stopped it (the state is saved)."""
    section, progress = job.recipe.train, job.progress
    assert job.dataset.val is not None
    batches = training_batches(
        job.dataset.train,
        job.preprocessing,
        job.recipe.data.augment,
        section.batch_size,
        job.recipe.seed,
        section.workers or 0,
    )
    job.announce(Event.RUN_START)
    while progress.epoch < section.epochs:
        job.announce(Event.EPOCH_START)
        job.net.train()
        if not train_epoch(job, batches(progress.epoch, progress.step_in_epoch), interrupt):
            save(job, interrupt, best=False)
            return False
        metrics = validate(job)
        progress.epoch += 1
        job.moment.epoch, job.moment.metrics = progress.epoch, metrics
        job.announce(Event.EPOCH_END)
        best = is_better(metrics, progress)
        if best:
            progress.best_top1, progress.best_loss = metrics["val_top1"], metrics["val_loss"]
        progress.step_in_epoch = progress.correct = progress.seen = 0
        progress.loss_sum = 0.0
        save(job, interrupt, best)
        if interrupt.requested and progress.epoch < section.epochs:
            return False
    job.announce(Event.RUN_END)
    return True


def train_epoch(job: Job, batches: Iterator[tuple[Tensor, Tensor]], interrupt: Interrupt) -> bool:
    """Train on the batches left in this epoch; False if the user asked to stop before its end."""
    progress = job.progress
    sums = torch.tensor([progress.loss_sum, float(progress.correct)], dtype=torch.float64)
    sums = sums.to(job.device)
    for images, targets in batches:
        loss, logits = train_step(job, images, targets)
        targets = targets.to(job.device)
        correct = (logits.argmax(1) == targets).sum()
        sums += torch.stack([loss.detach().double() * len(targets), correct.double()])
        progress.step_in_epoch += 1
        progress.seen += len(targets)
        due = time.monotonic() - job.saved_at > SAVE_EVERY
        if due or interrupt.requested or progress.step_in_epoch == job.steps:
            progress.loss_sum, progress.correct = sums[0].item(), int(sums[1].item())
        if due:
            save(job, interrupt, best=False)
        if interrupt.requested and progress.step_in_epoch < job.steps:
            return False
    return True


def train_step(job: Job, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """One step: images uint8 (N, C, H, W), targets (N,) -> loss (), logits (N, classes).

    The loss is that of the logits; auxiliary heads add theirs to what is minimised.
    """
    section, moment = job.recipe.train, job.moment
    step = job.progress.epoch * job.steps + job.progress.step_in_epoch
    moment.epoch, moment.step = job.progress.epoch, step
    moment.targets = targets = targets.to(job.device, non_blocking=True)
    images = images.to(job.device, non_blocking=True)
    moment.images = normalise(images, job.preprocessing, bool(section.channels_last))
    moment.learning_rate = learning_rate(section, step, job.steps)
    job.announce(Event.BATCH_READY)

    for group in job.optimizer.param_groups:
        group["lr"] = moment.learning_rate
    seed_generator(job.device, address(job.recipe.seed, "dropout", step, 0, 0))
    with autocast(job.device, section.precision):
        outputs = job.net.forward_train(moment.images)
    logits, smoothing = outputs.logits.float(), section.label_smoothing
    loss = total = F.cross_entropy(logits, targets, label_smoothing=smoothing)
    for aux in outputs.aux:
        auxiliary = F.cross_entropy(aux.float(), targets, label_smoothing=smoothing)
        total = total + outputs.aux_weight * auxiliary
    moment.logits, moment.loss = logits, total
    job.announce(Event.AFTER_FORWARD)

    job.optimizer.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    job.announce(Event.AFTER_BACKWARD)

    job.optimizer.step()
    moment.step = step + 1
    if job.average is not None:
        job.average.update(job.net, step + 1)
    job.announce(Event.AFTER_STEP)
    return loss, logits


def seed_generator(device: torch.device, seed: int) -> None:
    """Seed what dropout draws from on ``device``."""
    if device.type == "cpu":
        # torch.manual_seed also formats a stack trace for every kind of accelerator there might be.
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def validate(job: Job) -> dict[str, float]:
    """The epoch's figures: training's, as they were seen, and validation's."""
    assert job.dataset.val is not None
    progress = job.progress
    with judged_weights(job):
        answers = classify_split(
            job.net, job.dataset.val, job.preprocessing, job.device, job.recipe.train
        )
    scores = score(
        answers.probabilities,
        answers.labels,
        output_names(job.recipe, job.dataset.classes),
        answers.losses(answers.labels),
    )
    job.moment.metrics = metrics = {
        "train_loss": progress.loss_sum / progress.seen,
        "train_top1": progress.correct / progress.seen,
        "val_loss": scores.loss,
        "val_top1": scores.top1,
    }
    job.announce(Event.VALIDATION)
    return metrics


class judged_weights:  # noqa: N801 - reads as the context that it is
    """The averaged weights inside the network for the while, where an average is kept."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.kept: dict[str, Tensor] = {}

    def __enter__(self) -> None:
        if self.job.average is not None:
            state = self.job.net.state_dict()
            self.kept = {name: value.clone() for name, value in state.items()}
            self.job.net.load_state_dict(self.job.average.tensors)

    def __exit__(self, *_: object) -> None:
        if self.job.average is not None:
            self.job.net.load_state_dict(self.kept)


def is_better(metrics: dict[str, float], progress: Progress) -> bool:
    """Whether an epoch is the best so far: by accuracy, then by loss; at a tie the later one."""
    return (metrics["val_top1"], -metrics["val_loss"]) >= (
        progress.best_top1,
        -progress.best_loss,
    )


def save(job: Job, interrupt: Interrupt, best: bool) -> None:
    """Save a checkpoint, after the observers have put on disk what it counts on."""
    interrupt.saving = True
    job.announce(Event.SAVING)
    recipe = job.recipe
    checkpoint = Checkpoint(
        weights=job.net.state_dict(),
        ema=None if job.average is None else job.average.tensors,
        state={
            "progress": vars(job.progress),
            "optimizer": job.optimizer.state_dict(),
            "metrics_bytes": job.log.size,
        },
        metadata={
            "format": "pt",
            "model": recipe.model.name,
            "num_classes": str(recipe.model.num_classes),
            "in_chans": str(recipe.model.in_chans),
            "epoch": str(job.progress.epoch),
            "step": str(job.moment.step),
            "recipe": recipe.digest,
        },
    )
    save_checkpoint(job.run, checkpoint, job.moment.step, best)
    interrupt.saving = False
    job.saved_at = time.monotonic()


def restore(job: Job, checkpoint: Checkpoint) -> None:
    """Put a checkpoint into a fresh job."""
    job.net.load_state_dict(checkpoint.weights)
    job.optimizer.load_state_dict(checkpoint.state["optimizer"])
    job.progress = Progress(**checkpoint.state["progress"])
    if job.average is not None and checkpoint.ema is not None:
        for name, value in checkpoint.ema.items():
            job.average.tensors[name].copy_(value)
    job.moment.epoch = job.progress.epoch
    job.moment.step = job.progress.epoch * job.steps + job.progress.step_in_epoch
