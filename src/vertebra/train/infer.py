"""Running a network over batches without learning from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vertebra.core import Preprocessing, VertebraError
from vertebra.data import Batch, Skipped, Split, evaluation_batches, normalise
from vertebra.nn import Backbone
from vertebra.runs import Recipe
from vertebra.runs.sections import TrainSection
from vertebra.train.group import Group
from vertebra.train.tta import ViewsSplit, mean_logits


@dataclass(frozen=True)
class Answers:
    """What a network said: ``logits`` (N, classes) float32 on the CPU, ``labels`` (N,) as given,
    ``places`` (N,) in the split. ``broken``: what could not be decoded and so is not among them.
    """

    logits: Tensor
    labels: NDArray[np.int64]
    places: NDArray[np.int64]
    broken: tuple[Skipped, ...] = ()

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
    """Arithmetic in sixteen bits where the recipe asks for it."""
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision or "")
    return torch.autocast(device.type, half or torch.bfloat16, enabled=half is not None)


def classify_split(
    net: Backbone,
    split: Split,
    preprocessing: Preprocessing,
    device: torch.device,
    section: TrainSection,
    group: Group | None = None,
    tta: str | None = None,
) -> Answers:
    """What the network says of a split, in its order; of several processes each takes a part.

    Batches are twice training's, at least 64, since no gradients are kept. With ``tta``, in one
    process only, they are of so many views, and an image's answer is the mean of its views'.

    Raises:
        VertebraError: none of its images can be decoded; or no such ``tta``.
    """
    group = group or Group()
    at_once = section.micro_batch or -(-section.batch_size // group.world)
    size, views = max(64, 2 * at_once), 1
    if tta is not None:
        assert group.is_alone  # a part of the views may end within an image
        split = ViewsSplit.of(split, tta, preprocessing)
        preprocessing, views = split.of_a_view, split.count
        size -= size % views
    batches = evaluation_batches(
        split, preprocessing, size, section.workers or 0, group.rank, group.world
    )
    own = classify(net, batches, preprocessing, device, section, views)
    answers = own if group.is_alone else _joined(group.gathered(own))
    if not len(answers.labels):
        raise VertebraError(
            f"none of the images of '{split.name}' in {split.source.name} can be decoded"
        )
    return answers


def _joined(parts: list[Answers]) -> Answers:
    return Answers(
        torch.cat([part.logits for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.places for part in parts]),
        tuple(entry for part in parts for entry in part.broken),
    )


@torch.no_grad()
def classify(
    net: Backbone,
    batches: Iterator[Batch],
    preprocessing: Preprocessing,
    device: torch.device,
    section: TrainSection,
    views: int = 1,
) -> Answers:
    """What the network says of all batches, in the precision of the recipe.

    The network is in evaluation mode for the while. Where an image stands in ``views`` rows, all in
    one batch, its answer is the mean of theirs.
    """
    training = net.training
    net.eval()
    outputs: list[Tensor] = [torch.empty(0, net.num_classes)]
    labels, places = [torch.empty(0, dtype=torch.int64)], [torch.empty(0, dtype=torch.int64)]
    broken: list[Skipped] = []
    try:
        for batch in batches:
            broken += dict.fromkeys(batch.broken)  # once for all views
            if not len(batch.labels):
                continue
            images = batch.images.to(device)
            pixels = normalise(images, preprocessing, bool(section.channels_last))
            if section.precision == "fp64":
                pixels = pixels.double()
            with autocast(device, section.precision):
                logits = net(pixels)
            answers = logits.float().cpu()
            outputs.append(answers if views == 1 else mean_logits(answers, views))
            labels.append(batch.labels[::views])
            places.append(batch.places[::views] // views)
    finally:
        net.train(training)
    return Answers(
        torch.cat(outputs), torch.cat(labels).numpy(), torch.cat(places).numpy(), tuple(broken)
    )


def output_names(recipe: Recipe, names: tuple[str, ...]) -> tuple[str, ...]:
    """Class names, padded where the network has more outputs than the data has classes."""
    extra = (recipe.model.num_classes or 0) - len(names)
    return (*names, *(f"unused {index}" for index in range(extra)))
