"""The training loop.

while there are steps left:
    for each batch left in the epoch:
        step  (see step.py)
        if anybody asked to stop: save, stop
        if the last save is long ago: save
    if the last save is some time ago: save
    validate
    save, as the best one if it is
    stop early if validation has not improved for long
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict

import torch
from torch import Tensor

from vertebra.data import Batch, training_batches
from vertebra.runs import Event
from vertebra.train.checkpoint import Checkpoint, save_checkpoint
from vertebra.train.infer import classify_split, output_names
from vertebra.train.interrupt import Interrupt
from vertebra.train.job import Job, Progress, note_broken, sampling_of
from vertebra.train.scores import score
from vertebra.train.step import train_step
from vertebra.train.weights import (
    judged_weights,
    restore_weights,
    saved_optimizer,
    saved_weights,
    share_statistics,
)
from vertebra.zoo.weight_files import weights_metadata

# Seconds of work that a kill may cost at most, whatever an epoch takes. When a run is saved changes
# none of its numbers.
SAVE_EVERY = 300.0
# Validation may take long, so it begins with what was learnt in more seconds than these saved.
SAVE_BEFORE_VALIDATION = 20.0


def train(job: Job, interrupt: Interrupt) -> bool:
    """Run the steps that are left; False if the user stopped it (the state is saved)."""
    progress = job.progress
    batches = batches_of(job)
    job.announce(Event.RUN_START)
    while not job.is_over and not out_of_patience(job):
        job.announce(Event.EPOCH_START)
        job.choose_learners()
        job.enter_training()
        if not train_epoch(job, batches(progress.epoch, progress.step_in_epoch), interrupt):
            save(job, interrupt, best=False)
            return False
        waiting = time.monotonic() - job.saved_at
        if job.group.most(waiting > SAVE_BEFORE_VALIDATION)[0]:
            save(job, interrupt, best=False)
        metrics = validate(job)
        progress.epoch += 1
        job.moment.epoch, job.moment.metrics = progress.epoch, metrics
        job.announce(Event.EPOCH_END)
        best = is_better(metrics, progress)
        if best:
            progress.best_top1, progress.best_loss = metrics["val_top1"], metrics["val_loss"]
        progress.since_best = 0 if best else progress.since_best + 1
        progress.step_in_epoch = progress.seen = progress.replaced = 0
        progress.sums = []
        save(job, interrupt, best)
        stopped = job.group.most(int(interrupt.requested))[0]
        if stopped and not job.is_over and not out_of_patience(job):
            return False
    job.announce(Event.RUN_END)
    return True


def batches_of(job: Job) -> training_batches:
    """The run's training batches, this process's share of them."""
    recipe, section = job.recipe, job.recipe.train
    return training_batches(
        job.dataset.train,
        job.preprocessing,
        recipe.data.augment,
        sampling_of(recipe),
        recipe.seed,
        section.workers or 0,
        sizes=sizes_of(job),
        rank=job.group.rank,
        world=job.group.world,
        micro_batch=section.micro_batch,
        decode=recipe.data.decode,
    )


def sizes_of(job: Job) -> list[int]:
    """The training size of each epoch; empty where it is always the same."""
    stages = job.recipe.data.progressive
    if not stages:
        return []
    epochs = -(-job.total // job.steps)
    return [[size for at, size in stages if at.value <= epoch][-1] for epoch in range(epochs)]


def train_epoch(job: Job, batches: Iterator[list[Batch]], interrupt: Interrupt) -> bool:
    """Train on the steps left in this epoch; False if somebody asked to stop before its end."""
    progress = job.progress
    sums = _own_sums(job)
    end = job.epoch_end
    for micro_batches in batches:
        job.choose_learners()
        images = job.step_images
        step = train_step(job, micro_batches, images)
        sums += torch.stack([step.loss, step.correct.double()])
        progress.step_in_epoch += 1
        progress.seen += images
        broken = [entry for batch in micro_batches for entry in batch.broken]
        due = time.monotonic() - job.saved_at > SAVE_EVERY
        stop, due_anywhere, many = job.group.most(interrupt.requested, due, len(broken))
        if many:
            everywhere = [entry for some in job.group.gathered(broken) for entry in some]
            progress.replaced += len(everywhere)
            note_broken(job, everywhere)
        over = progress.step_in_epoch >= end
        if due_anywhere or stop or over:
            progress.sums = job.group.gathered(sums.tolist())
        if over:
            return True
        if stop:
            return False
        if due_anywhere:
            save(job, interrupt, best=False)
    return True


def _own_sums(job: Job) -> Tensor:
    """Loss and right answers of the epoch's steps so far in this process.

    Where others were here when the run was stopped, the first has all.
    """
    kept = job.progress.sums
    if len(kept) == job.group.world:
        own = kept[job.group.rank]
    else:
        own = [sum(part) for part in zip(*kept, strict=True)] if job.group.is_first else []
    return torch.tensor(own or [0.0, 0.0], dtype=torch.float64, device=job.device)


def validate(job: Job) -> dict[str, float]:
    """The epoch's figures: training's, as they were seen, and validation's."""
    assert job.dataset.val is not None
    progress = job.progress
    share_statistics(job)
    with judged_weights(job):
        answers = classify_split(
            job.net,
            job.dataset.val,
            job.preprocessing,
            job.device,
            job.recipe.train,
            # A divided network runs in every process or in none, so each judges every image.
            group=None if job.is_sharded else job.group,
        )
    note_broken(job, answers.broken)
    scores = score(
        answers.probabilities,
        answers.labels,
        output_names(job.recipe, job.dataset.classes),
        answers.losses(answers.labels),
    )
    metrics = {
        "train_loss": sum(loss for loss, _ in progress.sums) / progress.seen,
        "train_top1": sum(correct for _, correct in progress.sums) / progress.seen,
        "val_loss": scores.loss,
        "val_top1": scores.top1,
    }
    if progress.replaced:
        metrics["replaced"] = progress.replaced
    job.moment.metrics = metrics
    job.announce(Event.VALIDATION)
    return metrics


def is_better(metrics: dict[str, float], progress: Progress) -> bool:
    """Whether an epoch is the best so far: by accuracy, then by loss; at a tie the later one."""
    return (metrics["val_top1"], -metrics["val_loss"]) >= (
        progress.best_top1,
        -progress.best_loss,
    )


def out_of_patience(job: Job) -> bool:
    """Whether validation has not improved for as long as the recipe waits."""
    patience = job.recipe.train.patience
    return patience is not None and job.progress.since_best >= patience


def save(job: Job, interrupt: Interrupt, best: bool) -> None:
    """Save a checkpoint, after the observers have put on disk what it counts on."""
    interrupt.saving = True
    job.announce(Event.SAVING)
    (weights, average), optimizer = saved_weights(job), saved_optimizer(job)
    if job.log is not None:
        state = {
            "progress": asdict(job.progress),
            "optimizer": optimizer,
            "scaler": job.scaler.state_dict(),
            "metrics_bytes": job.log.size,
        }
        checkpoint = Checkpoint(weights, average, state, _metadata(job))
        save_checkpoint(job.run, checkpoint, job.step, best)
    job.group.wait()
    interrupt.saving = False
    job.saved_at = time.monotonic()


def _metadata(job: Job) -> dict[str, str]:
    model = job.recipe.model
    return {
        "format": "pt",
        "model": model.name,
        "num_classes": str(model.num_classes),
        "in_chans": str(model.in_chans),
        "epoch": str(job.progress.epoch),
        "step": str(job.step),
        "recipe": job.recipe.digest,
        **weights_metadata(job.net),
    }


def restore(job: Job, checkpoint: Checkpoint) -> None:
    """Put a checkpoint into a fresh job."""
    restore_weights(job, checkpoint)
    job.scaler.load_state_dict(checkpoint.state["scaler"])
    job.progress = Progress(**checkpoint.state["progress"])
    job.moment.epoch, job.moment.step = job.progress.epoch, job.step
