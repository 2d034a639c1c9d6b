"""The training view of one image: a cut, a flip, and what else the recipe asks for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf

from vertebra.core import Preprocessing
from vertebra.data.augment import crops
from vertebra.data.augment.colour import random_jitter
from vertebra.data.augment.erasing import random_erase
from vertebra.data.augment.policies import policy
from vertebra.data.jpeg import Box
from vertebra.runs.recipe import AugmentSection

Transform = Callable[[Tensor], Tensor]


def augmentation(section: AugmentSection, preprocessing: Preprocessing) -> Transform:
    """The training view, drawing from PyTorch's global generator: uint8 (C, H, W) in and out."""
    return View(section, preprocessing)


class View:
    """The training view in three steps, so that a decoder can stand between the first two.

    ``plan`` draws which part becomes how large, from the size of the image alone; ``render`` cuts
    and resizes it; ``finish`` does the rest. Calling it does all three.
    """

    def __init__(self, section: AugmentSection, preprocessing: Preprocessing) -> None:
        self._section, self._preprocessing = section, preprocessing
        self._steps = _steps(section, preprocessing)
        own = section.crop != "none"
        self.interpolation = section.interpolation if own else preprocessing.interpolation

    def __call__(self, image: Tensor) -> Tensor:
        """The view of one image: uint8 (C, H, W) -> uint8 (C, size, size)."""
        box, size = self.plan(image.shape[-2], image.shape[-1])
        return self.finish(self.render(image, box, size))

    def plan(self, height: int, width: int) -> tuple[Box, tuple[int, int]]:
        """Which part of an image of this size is resized, and to which (height, width)."""
        section = self._section
        if section.crop == "resized":
            side = self._preprocessing.size
            return crops.random_box(height, width, section.scale, section.ratio), (side, side)
        shorter = self._preprocessing.resize
        return Box(0, 0, height, width), crops.shorter_to(height, width, shorter)

    def render(self, image: Tensor, box: Box, size: tuple[int, int]) -> Tensor:
        """Cut and resize: ``box`` is in pixels of ``image``."""
        return self.resized(crops.cut(image, box), size)

    def resized(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        """What was cut out, resized to (height, width)."""
        return crops.resize(image, *size, self.interpolation)

    def finish(self, image: Tensor) -> Tensor:
        """What comes after resizing: the window, the flip, the policy, jitter and erasing."""
        for step in self._steps:
            image = step(image)
        return image


def _steps(section: AugmentSection, preprocessing: Preprocessing) -> list[Transform]:
    size = preprocessing.size
    steps: list[Transform] = []
    if section.crop == "pad":
        steps.append(partial(crops.random_window, size=size, padding=section.padding))
    if section.crop == "none":
        steps.append(partial(tvf.center_crop, output_size=[size, size]))
    if section.flip:
        steps.append(crops.random_flip)
    mean = [float(round(255 * value)) for value in preprocessing.mean]
    if section.policy is not None:
        steps.append(policy(section.policy, section.policy_ops, section.policy_magnitude, mean))
    if section.jitter:
        steps.append(partial(random_jitter, strength=section.jitter))
    if section.erase:
        fill = torch.tensor(mean).to(torch.uint8).view(-1, 1, 1)
        steps.append(partial(random_erase, probability=section.erase, fill=fill))
    return steps
