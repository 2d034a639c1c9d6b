"""Random erasing: Zhong et al., 2017, arXiv:1708.04896."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vertebra.data.augment.crops import log_of

ATTEMPTS = 10
AREA = (0.02, 0.33)
ASPECT = (0.3, 3.3)  # height by width


def random_erase(image: Tensor, probability: float, fill: Tensor) -> Tensor:
    """uint8 (C, H, W) with one rectangle of ``fill`` (C, 1, 1) on it, or as it came.

    The rectangle covers 2 to 33 % of the area, its aspect between 0.3 and 3.3. Draws what
    ``v2.RandomErasing`` draws, from the global generator.

    The paper fills with random values, and its mean value is close behind (table 4). Here the
    image is uint8 and normalised only later, maybe on another device: the mean of the
    preprocessing becomes zero there, which is what torchvision and timm write by default.
    """
    if torch.rand(1) >= probability:
        return image
    height, width = image.shape[-2:]
    drawn = torch.empty(1)
    for _ in range(ATTEMPTS):
        area = height * width * drawn.uniform_(*AREA).item()
        aspect = drawn.uniform_(*log_of(ASPECT)).exp_().item()
        tall, wide = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if tall < height and wide < width:
            top = int(torch.randint(0, height - tall + 1, (1,)))
            left = int(torch.randint(0, width - wide + 1, (1,)))
            erased = image.clone()  # the image may be one that a cache keeps
            erased[:, top : top + tall, left : left + wide] = fill
            return erased
    return image
