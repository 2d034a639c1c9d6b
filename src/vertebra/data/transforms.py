"""From a decoded image to the pixels of a batch, and from a batch to what a network takes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad
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
    flip: list[Transform] = [random_flip] if section.flip else []
    if section.crop == "resized":
        return _chain([v2.RandomResizedCrop(size, scale=section.scale, antialias=True), *flip])
    if section.crop == "none":
        return _chain([lambda image: prepare(image, preprocessing), *flip])

    def cut(image: Tensor) -> Tensor:
        return random_crop(resize_shorter(image, preprocessing.resize), size, section.padding)

    return _chain([cut, *flip])


def random_crop(image: Tensor, size: int, padding: int) -> Tensor:
    """A random window of ``size`` pixels of (C, H, W), padded by zeros on all four sides.

    The same window as ``v2.RandomCrop`` draws, to the bit; but v2 looks at the types of its
    inputs each time, which takes as long as to decode a small image.
    """
    padded = pad(image, [padding] * 4) if padding else image
    top, left = (_offset(side - size) for side in padded.shape[-2:])
    return padded[:, top : top + size, left : left + size]


def _offset(room: int) -> int:
    return int(torch.randint(0, room + 1, (1,))) if room > 0 else 0


def random_flip(image: Tensor) -> Tensor:
    """(..., W) mirrored or not, with the draw of ``v2.RandomHorizontalFlip``."""
    return image.flip(-1) if torch.rand(1) < 0.5 else image


def _chain(steps: list[Transform]) -> Transform:
    def run(image: Tensor) -> Tensor:
        for step in steps:
            image = step(image)
        return image

    return run


def normalise(images: Tensor, preprocessing: Preprocessing, channels_last: bool = False) -> Tensor:
    """A batch of uint8 (N, C, H, W) on its device -> float32, scaled and normalised per channel."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    mean = torch.tensor(preprocessing.mean, device=images.device).view(1, -1, 1, 1)
    std = torch.tensor(preprocessing.std, device=images.device).view(1, -1, 1, 1)
    pixels = images.to(torch.float32).sub_(mean * 255).div_(std * 255)
    # The layout last: arithmetic by channel is five times slower where channels are innermost.
    return pixels.contiguous(memory_format=layout)
