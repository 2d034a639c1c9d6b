"""Learnt and random policies of image operations, as torchvision's transforms v2 has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torchvision.transforms import v2

from vertebra.core import unknown
from vertebra.data.augment import operations as op
from vertebra.data.augment import warps

Fill = list[float]
NAMES = ("autoaugment", "randaugment", "trivialaugment")

# What transforms v2 takes long for; the rest (posterising, inverting, ...) stays theirs.
SOONER: dict[str, Callable[[Tensor, float, Fill], Tensor]] = {
    "Brightness": lambda image, strength, fill: op.brightness(image, 1 + strength),
    "Color": lambda image, strength, fill: op.saturation(image, 1 + strength),
    "Contrast": lambda image, strength, fill: op.contrast(image, 1 + strength),
    "Sharpness": lambda image, strength, fill: op.sharpness(image, 1 + strength),
    "Solarize": lambda image, strength, fill: op.solarize(image, 255 * strength),
    "Equalize": lambda image, strength, fill: op.equalize(image),
    "TranslateX": lambda image, strength, fill: warps.translate(image, int(strength), 0, fill),
    "TranslateY": lambda image, strength, fill: warps.translate(image, 0, int(strength), fill),
    "ShearX": warps.shear_x,
    "ShearY": warps.shear_y,
    "Rotate": warps.rotate,
}


class _Sooner:
    """Overrides where transforms v2 applies an operation; all draws stay theirs.

    The method is not public. Should it go, theirs runs: the same pixels, later.
    """

    fill: Fill

    def __call__(self, image: Tensor) -> Tensor:
        # Planes one after the other: most operations run two to six times as fast on them.
        drawn: Tensor = super().__call__(image.contiguous())  # type: ignore[misc]
        return drawn

    def _apply_image_or_video_transform(
        self, image: Tensor, transform_id: str, magnitude: float, *rest: Any, **named: Any
    ) -> Tensor:
        sooner = SOONER.get(transform_id)
        if sooner is not None:
            return sooner(image, magnitude, self.fill)
        parent: Any = super()
        applied: Tensor = parent._apply_image_or_video_transform(
            image, transform_id, magnitude, *rest, **named
        )
        return applied


class _AutoAugment(_Sooner, v2.AutoAugment):  # type: ignore[misc]
    pass


class _RandAugment(_Sooner, v2.RandAugment):  # type: ignore[misc]
    pass


class _TrivialAugment(_Sooner, v2.TrivialAugmentWide):  # type: ignore[misc]
    pass


def policy(name: str, operations: int, magnitude: int, fill: Fill) -> Callable[[Tensor], Tensor]:
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
        return _AutoAugment(fill=fill)
    if name == "randaugment":
        return _RandAugment(operations, magnitude, 31, fill=fill)
    if name == "trivialaugment":
        return _TrivialAugment(fill=fill)
    raise unknown("augmentation policy", name, NAMES)
