"""From a decoded image to the pixels of a batch, and from a batch to what a network takes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tvf

from vertebra.core import Preprocessing
from vertebra.runs.recipe import AugmentSection

Transform = Callable[[Tensor], Tensor]


def prepare(image: Tensor, preprocessing: Preprocessing) -> Tensor:
    """The evaluation view: uint8 (C, H, W) -> uint8 (C, size, size).

    The shorter side is resized (antialiased), the centre is cut out.
    """
    resized = resize_shorter(image, preprocessing.resize, preprocessing.interpolation)
    cropped: Tensor = tvf.center_crop(resized, [preprocessing.size, preprocessing.size])
    return cropped


def resize_shorter(image: Tensor, size: int, interpolation: str = "bilinear") -> Tensor:
    """Resize the shorter side to ``size`` pixels; an image that fits is returned as it is."""
    if min(image.shape[-2:]) == size:
        return image
    mode = v2.InterpolationMode(interpolation)
    resized: Tensor = tvf.resize(image, [size], interpolation=mode, antialias=True)
    return resized


def augmentation(section: AugmentSection, preprocessing: Preprocessing) -> Transform:
    """The training view, drawing from PyTorch's global generator: uint8 (C, H, W) in and out."""
    size = preprocessing.size
    flip: list[Transform] = [v2.RandomHorizontalFlip()] if section.flip else []
    if section.crop == "resized":
        return _chain([v2.RandomResizedCrop(size, scale=section.scale, antialias=True), *flip])
    if section.crop == "pad":
        crop: Transform = v2.RandomCrop(size, padding=section.padding)
    else:
        crop = v2.CenterCrop(size)
    return _chain([lambda image: resize_shorter(image, preprocessing.resize), crop, *flip])


def _chain(steps: list[Transform]) -> Transform:
    def run(image: Tensor) -> Tensor:
        for step in steps:
            image = step(image)
        return image

    return run


def normalise(images: Tensor, preprocessing: Preprocessing, channels_last: bool = False) -> Tensor:
    """A batch of uint8 (N, C, H, W) on its device -> float32, scaled and normalised per channel."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    # The layout changes while a pixel is one byte; then one multiplication and one addition.
    pixels = images.contiguous(memory_format=layout).to(torch.float32)
    mean = torch.tensor(preprocessing.mean, device=images.device).view(1, -1, 1, 1)
    std = torch.tensor(preprocessing.std, device=images.device).view(1, -1, 1, 1)
    return pixels.sub_(mean * 255).div_(std * 255)
