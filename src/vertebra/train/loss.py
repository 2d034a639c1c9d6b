"""What is minimised: cross-entropy in its variants, auxiliary heads, a teacher's answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vertebra.nn.backbone import Outputs
from vertebra.runs.sections import DistillSection, TrainSection


@dataclass(frozen=True)
class Targets:
    """What a micro-batch should be answered with.

    ``first`` and ``second`` (N,) are class indices, ``share`` (N,) how much of each image is its
    first class; all ones where nothing was mixed.
    """

    first: Tensor
    second: Tensor
    share: Tensor

    @classmethod
    def plain(cls, labels: Tensor) -> Targets:
        """One class an image."""
        return cls(labels, labels, torch.ones(len(labels), device=labels.device))


@dataclass(frozen=True)
class Losses:
    """Sums over the images of a micro-batch: ``labels`` of the logits' cross-entropy alone,
    ``total`` of everything that is minimised.
    """

    labels: Tensor
    total: Tensor


def losses(
    outputs: Outputs,
    targets: Targets,
    section: TrainSection,
    weights: Tensor | None = None,
    teacher: Tensor | None = None,
) -> Losses:
    """The losses of one micro-batch, summed over its images.

    Args:
        outputs: logits (N, classes), and those of auxiliary heads.
        targets: what they should be.
        section: smoothing and distillation.
        weights: loss weight (classes,) of each class.
        teacher: a teacher's logits (N, classes) for the same images.
    """
    logits = _wide(outputs.logits)
    labels = cross_entropy(logits, targets, section.label_smoothing, weights)
    total = labels
    if teacher is not None:
        total = _with_teacher(total, logits, teacher, section.distill)
    for auxiliary in outputs.aux:
        part = cross_entropy(_wide(auxiliary), targets, section.label_smoothing, weights)
        total = total + outputs.aux_weight * part
    return Losses(labels, total)


def cross_entropy(
    logits: Tensor, targets: Tensor | Targets, smoothing: float = 0.0, weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy in nats, summed over the images.

    Mixed images count by the share of each of their classes (Zhang et al., 2017, arXiv:1710.09412,
    where targets are mixed: the same for cross-entropy, which is linear in them). Smoothing is that
    of Szegedy et al., 2015 (arXiv:1512.00567, section 7). With ``weights`` an image counts by its
    class, and the smoothed part by every class's weight, as torch has it.
    """
    if isinstance(targets, Tensor):
        targets = Targets.plain(targets)

    def one(labels: Tensor) -> Tensor:
        return F.cross_entropy(
            logits, labels, weight=weights, label_smoothing=smoothing, reduction="none"
        )

    first = one(targets.first)
    if targets.first is targets.second:
        return first.sum()
    share = targets.share.to(first.dtype)
    return (share * first + (1 - share) * one(targets.second)).sum()


def class_weights(labels: NDArray[np.int64], classes: int) -> Tensor:
    """A weight (classes,) for each class: inverse to its number of images, one on average over
    them, so that the size of the loss stays. A class without images gets zero.

    The rule of scikit-learn's ``class_weight="balanced"`` (King and Zeng, 2001).
    """
    counts = np.bincount(labels, minlength=classes)
    there = np.count_nonzero(counts)
    weights = np.where(counts > 0, len(labels) / (there * np.maximum(counts, 1)), 0.0)
    return torch.from_numpy(weights).to(torch.float32)


def _with_teacher(
    labels: Tensor, logits: Tensor, teacher: Tensor, section: DistillSection
) -> Tensor:
    """Hinton et al., 2015 (arXiv:1503.02531): the gradients of softened answers shrink by the
    square of the temperature, so their loss is multiplied by it.
    """
    heat = section.temperature
    soft = F.kl_div(
        (logits / heat).log_softmax(1),
        (_wide(teacher) / heat).log_softmax(1),
        log_target=True,
        reduction="sum",
    )
    return (1 - section.weight) * labels + section.weight * heat**2 * soft


def _wide(logits: Tensor) -> Tensor:
    """At least float32: a sum over thousands of classes has no place in sixteen bits."""
    return logits if logits.dtype == torch.float64 else logits.float()
