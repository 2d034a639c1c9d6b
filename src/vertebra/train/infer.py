"""Running a network over batches without learning from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vertebra.core import Preprocessing
from vertebra.data import Split, evaluation_batches, normalise
from vertebra.nn import Backbone
from vertebra.runs import Recipe
from vertebra.runs.recipe import TrainSection


@dataclass(frozen=True)
class Answers:
    """What a network said: ``logits`` (N, classes) float32 on the CPU, ``labels`` (N,) as given."""

    logits: Tensor
    labels: NDArray[np.int64]

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """(N, classes), each row summing to 1."""
        probabilities: NDArray[np.float32] = self.logits.softmax(dim=1).numpy()
        return probabilities

    def losses(self, labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Cross-entropy (N,) in nats; from logits, since a probability of 1e-400 is none."""
        true = torch.from_numpy(labels)
        losses: NDArray[np.float64] = F.cross_entropy(
            self.logits.double(), true, reduction="none"
        ).numpy()
        return losses


def autocast(device: torch.device, precision: str | None) -> torch.autocast:
    """bfloat16 arithmetic where the recipe asks for it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def classify_split(
    net: Backbone,
    split: Split,
    preprocessing: Preprocessing,
    device: torch.device,
    section: TrainSection,
) -> Answers:
    """What the network says of a split, in its order.

    Batches are twice training's, at least 64, since no gradients are kept.
    """
    size = max(64, 2 * section.batch_size)
    batches = evaluation_batches(split, preprocessing, size, section.workers or 0)
    return classify(net, batches, preprocessing, device, section)


@torch.no_grad()
def classify(
    net: Backbone,
    batches: Iterator[tuple[Tensor, Tensor]],
    preprocessing: Preprocessing,
    device: torch.device,
    section: TrainSection,
) -> Answers:
    """What the network says of all batches, in the precision of the recipe.

    The network is in evaluation mode for the while.
    """
    training = net.training
    net.eval()
    outputs, labels = [], []
    try:
        for images, targets in batches:
            pixels = normalise(images.to(device), preprocessing, bool(section.channels_last))
            with autocast(device, section.precision):
                logits = net(pixels)
            outputs.append(logits.float().cpu())
            labels.append(targets.numpy())
    finally:
        net.train(training)
    return Answers(torch.cat(outputs), np.concatenate(labels))


def output_names(recipe: Recipe, names: tuple[str, ...]) -> tuple[str, ...]:
    """Class names, padded where the network has more outputs than the data has classes."""
    extra = (recipe.model.num_classes or 0) - len(names)
    return (*names, *(f"unused {index}" for index in range(extra)))
