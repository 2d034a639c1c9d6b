"""One run in memory: the network, what trains it, and how far it is."""

from __future__ import annotations

import contextlib
import inspect
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from vertebra.core import Preprocessing
from vertebra.data import ImageDataset, Sampling, Skipped, steps_per_epoch
from vertebra.nn import Backbone
from vertebra.nn.backbone import Outputs
from vertebra.runs import Event, Moment, Observer, Recipe, Run
from vertebra.train import sharding
from vertebra.train.average import WeightAverage
from vertebra.train.float32_convs import keep_convs_in_float32
from vertebra.train.group import Group
from vertebra.train.loss import class_weights
from vertebra.train.norms import freeze_norms
from vertebra.train.observers import MetricsLog
from vertebra.train.optimizer import frozen_names, head_names, make_optimizer
from vertebra.train.schedule import total_steps
from vertebra.train.synced_norm import synchronise_norms
from vertebra.train.teacher import Teacher, teacher_of

# DDP's option to copy rank 0's buffers before each forward: torch 2.15 has another name for it.
_BUFFERS = "forward_sync_buffers"
if _BUFFERS not in inspect.signature(DistributedDataParallel.__init__).parameters:
    _BUFFERS = "broadcast_buffers"


@dataclass
class Progress:
    """How far a run is; with weights and optimiser, all that resuming needs.

    ``seen`` and ``replaced`` are over the present epoch's steps so far and over all processes;
    ``sums`` has each process's loss and right answers of them, added up step by step, so that where
    a run was saved rounds nothing. ``since_best``: epochs since the best one; ``broken``: id and
    reason of each file that could not be decoded so far.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    sums: list[list[float]] = field(default_factory=list)
    seen: int = 0
    replaced: int = 0
    best_top1: float = -1.0
    best_loss: float = math.inf
    since_best: int = 0
    broken: dict[str, str] = field(default_factory=dict)


@dataclass
class Job:
    """What a run is made of while it is in memory.

    ``forward`` gives logits and auxiliary logits of a batch: the network, inside what joins the
    processes where there are several, compiled where the recipe says so. ``steps`` make an epoch,
    ``total`` the run.
    """

    recipe: Recipe
    run: Run
    dataset: ImageDataset
    net: Backbone
    forward: nn.Module | Callable[[Tensor], tuple[Tensor, tuple[Tensor, ...]]]
    optimizer: Optimizer
    average: WeightAverage | None
    scaler: torch.amp.GradScaler
    class_weights: Tensor | None
    teacher: Teacher | None
    device: torch.device
    group: Group
    preprocessing: Preprocessing
    steps: int
    total: int
    log: MetricsLog | None
    observers: Sequence[Observer]
    moment: Moment
    tell: Callable[[str], None]
    progress: Progress = field(default_factory=Progress)
    saved_at: float = field(default_factory=time.monotonic)
    head_alone: bool = False

    def announce(self, event: Event) -> None:
        """Tell every observer."""
        for observer in self.observers:
            observer.on(event, self.moment)

    @property
    def step(self) -> int:
        """Optimiser steps completed so far."""
        done = self.progress.epoch * self.steps + self.progress.step_in_epoch
        return min(done, self.total)  # the last epoch of a run may be a part of one

    @property
    def is_over(self) -> bool:
        """Whether every step is made and the last epoch has been validated."""
        return self.step >= self.total and self.progress.step_in_epoch == 0

    @property
    def epoch_end(self) -> int:
        """Steps of the present epoch: fewer in the last one of a run that ends in the middle."""
        return min(self.steps, self.total - self.progress.epoch * self.steps)

    @property
    def step_images(self) -> int:
        """Images of the present step, over all processes."""
        size, done = self.recipe.train.batch_size, self.progress.step_in_epoch
        return min(size, len(self.dataset.train) - done * size)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What the optimiser moves."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    @property
    def is_sharded(self) -> bool:
        """Whether the network is divided between the processes."""
        return self.recipe.train.shard and not self.group.is_alone

    def unjoined(self) -> contextlib.AbstractContextManager[None]:
        """Gradients stay in their process for the while."""
        if isinstance(self.forward, DistributedDataParallel):
            waiting: contextlib.AbstractContextManager[None] = self.forward.no_sync()
            return waiting
        if self.is_sharded:
            return sharding.unjoined(self.net)
        return contextlib.nullcontext()

    def outputs(self, images: Tensor) -> Outputs:
        """A training forward."""
        logits, auxiliary = self.forward(images)
        return Outputs(logits, tuple(auxiliary), self.net.aux_weight)

    def enter_training(self) -> None:
        """Training mode; while the head learns alone, all batch norms stay as they are."""
        self.net.train()
        if self.head_alone:
            for module in self.net.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()

    def choose_learners(self) -> None:
        """Let only the head learn in the first steps of a recipe that says so, then everything."""
        until = self.recipe.train.head_first.steps(self.steps)
        alone = self.step < until
        if alone == self.head_alone:
            return
        self.head_alone = alone
        head, frozen = head_names(self.net), frozen_names(self.net, self.recipe.train.freeze)
        for name, parameter in self.net.named_parameters():
            parameter.requires_grad_(name not in frozen and (name in head or not alone))
        if self.recipe.train.frozen_norm:
            freeze_norms(self.net)
        # What joins the processes has to know anew who takes part.
        self.forward = joined_forward(self.net, self.recipe, self.device, self.group)
        self.enter_training()


class TrainingForward(nn.Module):
    """A network's training forward as plain tensors, which is what DDP and compilers take."""

    def __init__(self, net: Backbone) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Images (N, C, H, W) -> logits (N, classes) and those of each auxiliary head."""
        outputs = self.net.forward_train(images)
        return outputs.logits, outputs.aux


def joined_forward(net: Backbone, recipe: Recipe, device: torch.device, group: Group) -> nn.Module:
    """The training forward, compiled if the recipe says so, joined with the other processes'."""
    forward: nn.Module = TrainingForward(net)
    if not group.is_alone and not recipe.train.shard:
        places = [device.index] if device.type == "cuda" else None
        options: dict[str, Any] = {_BUFFERS: not recipe.train.sync_norm}
        forward = DistributedDataParallel(
            forward, device_ids=places, gradient_as_bucket_view=True, **options
        )
    if recipe.train.compile:
        forward.compile()
    return forward


def make_job(
    run: Run,
    dataset: ImageDataset,
    net: Backbone,
    device: torch.device,
    group: Group,
    log: MetricsLog | None,
    observers: Sequence[Observer],
    tell: Callable[[str], None],
) -> Job:
    """A fresh job, at step 0; ``net`` has its initial weights and lies on the CPU."""
    recipe, section = run.recipe, run.recipe.train
    net.preprocessing = run.preprocessing
    net = prepare_network(net, recipe, device, group)
    optimizer = make_optimizer(net, section)
    steps = steps_per_epoch(len(dataset.train), sampling_of(recipe))
    total = total_steps(section, steps)
    weights = None
    if section.class_weights == "balanced":
        count = recipe.model.num_classes or len(dataset.classes)
        weights = class_weights(dataset.train.labels, count).to(device)
    job = Job(
        recipe=recipe,
        run=run,
        dataset=dataset,
        net=net,
        forward=joined_forward(net, recipe, device, group),
        optimizer=optimizer,
        average=WeightAverage(net, section.ema_decay, section.ema_every)
        if section.ema_decay
        else None,
        scaler=torch.amp.GradScaler(device.type, enabled=section.precision == "fp16"),
        class_weights=weights,
        teacher=teacher_of(recipe, dataset.classes, run.preprocessing, device),
        device=device,
        group=group,
        preprocessing=run.preprocessing,
        steps=steps,
        total=total,
        log=log,
        observers=observers,
        moment=Moment(recipe, net, optimizer, steps_per_epoch=steps, total_steps=total),
        tell=tell,
    )
    job.progress.broken = {entry.id: entry.reason for entry in dataset.skipped}
    return job


def prepare_network(net: Backbone, recipe: Recipe, device: torch.device, group: Group) -> Backbone:
    """On its device, in its layout and precision, with what does not learn frozen."""
    section = recipe.train
    net = net.to(device)
    if section.precision == "fp64":
        net = net.double()
    sharded = section.shard and not group.is_alone
    # FSDP divides contiguous weights only; the images alone then decide the layout.
    if section.channels_last and not sharded:
        net = net.to(memory_format=torch.channels_last)
    # The recipe's device: of a plan's network, which has no numbers, it says nothing itself.
    if section.precision == "bf16" and torch.device(section.device or "cpu").type == "cpu":
        keep_convs_in_float32(net)
    if section.checkpointing:
        net.set_grad_checkpointing()
    if section.sync_norm and not group.is_alone:
        synchronise_norms(net, device)
    if section.frozen_norm:
        freeze_norms(net)
    frozen = frozen_names(net, section.freeze)
    for name, parameter in net.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)
    if sharded:
        sharding.shard_network(net, device, group)
    return net


def sampling_of(recipe: Recipe) -> Sampling:
    """How the recipe draws its batches."""
    data = recipe.data
    return Sampling(recipe.train.batch_size, data.balanced, data.repeats, data.short_batch)


def note_broken(job: Job, broken: Sequence[Skipped]) -> None:
    """Remember files that could not be decoded, and tell of each one once.

    In training another image stands in, in evaluation it is left out.
    """
    for entry in broken:
        if entry.id not in job.progress.broken:
            job.progress.broken[entry.id] = entry.reason
            job.tell(f"cannot be decoded: {entry.id} ({entry.reason})")
