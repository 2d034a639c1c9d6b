"""From a decoded image to the pixels of a batch, and from a batch to what a network takes."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf

from vertebra.core import Preprocessing
from vertebra.data.augment import augmentation
from vertebra.data.augment.crops import resize_shorter

__all__ = ["augmentation", "normalise", "prepare", "resize_shorter"]


def prepare(image: Tensor, preprocessing: Preprocessing) -> Tensor:
    """The evaluation view: uint8 (C, H, W) -> uint8 (C, size, size).

    The shorter side is resized (antialiased), the centre is cut out.
    """
    resized = resize_shorter(image, preprocessing.resize, preprocessing.interpolation)
    cropped: Tensor = tvf.center_crop(resized, [preprocessing.size, preprocessing.size])
    return cropped


def normalise(images: Tensor, preprocessing: Preprocessing, channels_last: bool = False) -> Tensor:
    """A batch of uint8 (N, C, H, W) on its device -> float32, scaled and normalised per channel."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    mean = torch.tensor(preprocessing.mean, device=images.device).view(1, -1, 1, 1)
    std = torch.tensor(preprocessing.std, device=images.device).view(1, -1, 1, 1)
    pixels = images.to(torch.float32).sub_(mean * 255).div_(std * 255)
    # The layout last: arithmetic by channel is five times slower where channels are innermost.
    return pixels.contiguous(memory_format=layout)
