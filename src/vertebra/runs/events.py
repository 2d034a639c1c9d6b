"""The events of training and the protocol of those who watch.

An observer looks and never touches: it wraps neither model nor optimiser and draws no random
numbers, so a run is the same to the last bit with and without it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from vertebra.nn import Backbone
    from vertebra.runs.recipe import Recipe


class Event(enum.StrEnum):
    """What just happened, in the order of a run.

    From BATCH_READY to AFTER_BACKWARD once a micro-batch, from AFTER_UNSCALING to AFTER_STEP once a
    step. Gradients are those of the whole step, over all micro-batches and processes, from
    AFTER_UNSCALING on.
    """

    RUN_START = "run_start"
    EPOCH_START = "epoch_start"
    BATCH_READY = "batch_ready"
    AFTER_FORWARD = "after_forward"
    AFTER_BACKWARD = "after_backward"
    AFTER_UNSCALING = "after_unscaling"
    AFTER_CLIPPING = "after_clipping"
    AFTER_STEP = "after_step"
    VALIDATION = "validation"
    EPOCH_END = "epoch_end"
    SAVING = "saving"
    RUN_END = "run_end"


@dataclass
class Moment:
    """What there is to see at an event; the loop fills it in as it goes.

    Attributes:
        epoch: epochs completed so far.
        step: optimiser steps completed so far.
        steps_per_epoch: optimiser steps in an epoch.
        total_steps: optimiser steps in the run.
        images, targets, logits, loss: the present micro-batch, once there; (N, C, H, W) float and
            (N,) int64 before mixing, (N, num_classes), and the mean over its images of what is
            minimised.
        step_loss: at AFTER_STEP, the mean over all images of the step.
        step_images: how many these are, over all processes.
        gradient_norm: at AFTER_CLIPPING, the global norm before clipping; None without clipping.
        learning_rate: the schedule's, of the present step; a group of the optimiser learns at its
            own share of it.
        metrics: the epoch's figures, at VALIDATION and EPOCH_END.
    """

    recipe: Recipe
    model: Backbone
    optimizer: Optimizer
    epoch: int = 0
    step: int = 0
    steps_per_epoch: int = 0
    total_steps: int = 0
    learning_rate: float = 0.0
    images: Tensor | None = None
    targets: Tensor | None = None
    logits: Tensor | None = None
    loss: Tensor | None = None
    step_loss: Tensor | None = None
    step_images: int = 0
    gradient_norm: Tensor | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        """Epochs of the run; the last one may be a short one."""
        return -(-self.total_steps // max(self.steps_per_epoch, 1))


class Observer(Protocol):
    """Anything that wants to know how training goes."""

    def on(self, event: Event, moment: Moment) -> None:
        """Called at every event; ``moment`` is the loop's own and changes after the call."""
