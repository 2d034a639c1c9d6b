"""Learnt and random policies of image operations, as torchvision's transforms v2 has them."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torchvision.transforms import v2

from vertebra.core import unknown

Policy = Callable[[Tensor], Tensor]
NAMES = ("autoaugment", "randaugment", "trivialaugment")


def policy(name: str, operations: int, magnitude: int, fill: list[float]) -> Policy:
    """uint8 (C, H, W) -> uint8 (C, H, W), drawing from PyTorch's global generator.

    - "autoaugment": the policy learnt on ImageNet (Cubuk et al., 2018, arXiv:1805.09501).
    - "randaugment": ``operations`` of 14, each at ``magnitude`` of 31 (Cubuk et al., 2019,
      arXiv:1909.13719).
    - "trivialaugment": one operation at a random strength, the wide space (Müller and Hutter, 2021,
      arXiv:2103.10158).

    ``fill``, one value a channel, is what lies outside a sheared, shifted or turned image. On a
    grey image the operation "Color" (saturation) is drawn and changes nothing.

    Raises:
        VertebraError: an unknown name.
    """
    if name == "autoaugment":
        made: Policy = v2.AutoAugment(fill=fill)
    elif name == "randaugment":
        made = v2.RandAugment(operations, magnitude, 31, fill=fill)
    elif name == "trivialaugment":
        made = v2.TrivialAugmentWide(fill=fill)
    else:
        raise unknown("augmentation policy", name, NAMES)
    # Planes one after the other: most of these operations run two to six times as fast on them.
    return lambda image: made(image.contiguous())
