"""Batches mixed with themselves: MixUp and CutMix.

MixUp (Zhang et al., 2017, arXiv:1710.09412) blends two images; CutMix (Yun et al., 2019,
arXiv:1905.04899) pastes a rectangle of one into the other. The loss is the blend of the losses for
both labels, ``lam * CE(targets_a) + (1 - lam) * CE(targets_b)``: for cross-entropy the same number
as for blended labels, and label smoothing and class weights need no case of their own.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from vertebra.data.jpeg import Box


class MixSection(Protocol):
    """The fields of a recipe's train section that are read here.

    ``mixup`` and ``cutmix`` are the alpha of a Beta(alpha, alpha), 0 for none; ``mix_prob`` the
    probability that a step is mixed at all; ``mix_switch`` that of CutMix where both are on.
    """

    @property
    def mixup(self) -> float: ...  # noqa: D102
    @property
    def cutmix(self) -> float: ...  # noqa: D102
    @property
    def mix_prob(self) -> float: ...  # noqa: D102
    @property
    def mix_switch(self) -> float: ...  # noqa: D102


class Mixture(NamedTuple):
    """How a whole step is mixed: ``lam`` is the share of the first image; ``box`` is CutMix's."""

    lam: float
    box: Box | None


class Mixed(NamedTuple):
    """A mixed batch: float (N, C, H, W), and int64 (N,) twice, with the share of the first."""

    images: Tensor
    targets_a: Tensor
    targets_b: Tensor
    lam: float


def draw_mixture(
    section: MixSection, height: int, width: int, generator: np.random.Generator
) -> Mixture:
    """What one step does, for images of this size.

    A generator that hangs on the step alone gives every rank and every micro-batch of it the same.
    """
    mixed, switch, row, column = generator.random(4).tolist()
    use_cutmix = section.cutmix > 0 and (section.mixup <= 0 or switch < section.mix_switch)
    alpha = section.cutmix if use_cutmix else section.mixup
    if alpha <= 0 or mixed >= section.mix_prob:
        return Mixture(1.0, None)
    lam = float(generator.beta(alpha, alpha))
    if not use_cutmix:
        return Mixture(lam, None)
    box = pasted_box(height, width, lam, row, column)
    return Mixture(1 - box.height * box.width / (height * width), box)


def pasted_box(height: int, width: int, lam: float, row: float, column: float) -> Box:
    """CutMix's rectangle: ``1 - lam`` of the area at most, its centre anywhere (algorithm 1).

    ``row`` and ``column`` in [0, 1) place the centre; what falls outside the image is cut off.
    """
    share = math.sqrt(1 - lam)
    tall, wide = int(height * share), int(width * share)
    middle, centre = int(height * row), int(width * column)
    top, bottom = max(0, middle - tall // 2), min(height, middle + tall // 2)
    left, right = max(0, centre - wide // 2), min(width, centre + wide // 2)
    return Box(top, left, bottom - top, right - left)


def mix(
    images: Tensor, targets: Tensor, section: MixSection, generator: np.random.Generator
) -> Mixed:
    """Mix a batch with a shuffled copy of itself; the images given are left as they are.

    ``images`` is float (N, C, H, W), normalised or not; ``targets`` int64 (N,). ``generator`` is
    the caller's, fresh from the address of the global step for each micro-batch: first the mixture
    is drawn, one for the whole step, then who is mixed with whom within this micro-batch.

    ``lam`` is the share of ``targets_a``, for CutMix by the area really pasted. A batch of one, or
    a step that is not mixed, comes back as it was with ``lam`` 1.
    """
    mixture = draw_mixture(section, images.shape[-2], images.shape[-1], generator)
    partners = torch.from_numpy(generator.permutation(len(images))).to(images.device)
    if mixture.lam == 1.0 or len(images) < 2:
        return Mixed(images, targets, targets, 1.0)
    return Mixed(blend(images, partners, mixture), targets, targets[partners], mixture.lam)


def blend(images: Tensor, partners: Tensor, mixture: Mixture) -> Tensor:
    """The mixed images: equation 1 of MixUp, or equation 1 of CutMix with its box as the mask."""
    if mixture.box is None:
        return torch.lerp(images[partners], images, mixture.lam)
    pasted = images.clone()
    top, left, height, width = mixture.box
    window = images[..., top : top + height, left : left + width]
    pasted[..., top : top + height, left : left + width] = window[partners]
    return pasted
