"""The run that a network learns from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vertebra.core import Preprocessing, VertebraError
from vertebra.nn import Backbone
from vertebra.runs import Recipe, Run
from vertebra.train.evaluate import load_model
from vertebra.train.infer import autocast


@dataclass
class Teacher:
    """A finished run's network and how its images were normalised."""

    net: Backbone
    own: Preprocessing
    pupils: Preprocessing
    precision: str | None

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """The answers (N, classes) to the pupil's very images, mixed and cropped as they are (Beyer
        et al., 2021, arXiv:2106.05237: the same view for both).

        ``images`` (N, C, H, W) are normalised as the pupil's and normalised anew if that differs.
        """
        shape = (1, -1, 1, 1)
        if (self.own.mean, self.own.std) != (self.pupils.mean, self.pupils.std):
            mean, std = (images.new_tensor(v).view(shape) for v in (self.own.mean, self.own.std))
            was, scale = (
                images.new_tensor(v).view(shape) for v in (self.pupils.mean, self.pupils.std)
            )
            images = (images * scale + was - mean) / std
        with autocast(images.device, self.precision):
            logits: Tensor = self.net(images)
        return logits


def teacher_of(
    recipe: Recipe, classes: tuple[str, ...], preprocessing: Preprocessing, device: torch.device
) -> Teacher | None:
    """The recipe's teacher, if it names one.

    Raises:
        VertebraError: there is no such run, or its classes or channels are others.
    """
    path = recipe.train.distill.teacher
    if path is None:
        return None
    run = Run.open(path)
    if run.classes != classes:
        missing = sorted(set(classes) ^ set(run.classes)) or ["their order"]
        raise VertebraError(f"teacher {path} knows other classes than the data: {missing[0]}")
    own = run.preprocessing
    if own.channels != preprocessing.channels:
        raise VertebraError(
            f"teacher {path} takes {own.channels} channels, the data has {preprocessing.channels}"
        )
    net = load_model(run).to(device)
    if recipe.train.precision == "fp64":
        net = net.double()
    return Teacher(net.requires_grad_(False), own, preprocessing, recipe.train.precision)
