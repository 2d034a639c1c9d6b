"""Cutting and resizing uint8 images of (C, H, W), with the draws of torchvision's transforms v2."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from vertebra.data.jpeg import Box

ATTEMPTS = 10  # as in torchvision: then the largest centre of an allowed aspect


def random_box(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> Box:
    """A box of a share of the area drawn from ``scale`` and a width by height from ``ratio``.

    Inception's crop (Szegedy et al., 2014, arXiv:1409.4842, section 6): the share is uniform, the
    aspect log-uniform. Draws what ``v2.RandomResizedCrop`` draws, from the global generator.
    """
    area, logarithms, drawn = height * width, log_of(ratio), torch.empty(1)
    for _ in range(ATTEMPTS):
        share = area * drawn.uniform_(*scale).item()
        aspect = drawn.uniform_(*logarithms).exp_().item()
        box_width, box_height = round(math.sqrt(share * aspect)), round(math.sqrt(share / aspect))
        if 0 < box_width <= width and 0 < box_height <= height:
            top = int(torch.randint(0, height - box_height + 1, (1,)))
            left = int(torch.randint(0, width - box_width + 1, (1,)))
            return Box(top, left, box_height, box_width)
    return _centre_box(height, width, ratio)


@cache
def log_of(pair: tuple[float, float]) -> tuple[float, float]:
    """The logarithms of a range, rounded to float32 as torchvision's are."""
    low, high = torch.log(torch.tensor(pair)).tolist()
    return low, high


def _centre_box(height: int, width: int, ratio: tuple[float, float]) -> Box:
    box_height, box_width = height, width
    if width / height < ratio[0]:
        box_height = round(width / ratio[0])
    elif width / height > ratio[1]:
        box_width = round(height * ratio[1])
    return Box((height - box_height) // 2, (width - box_width) // 2, box_height, box_width)


def cut(image: Tensor, box: Box) -> Tensor:
    """The part of (C, H, W) inside ``box``, a view."""
    top, left, height, width = box
    return image[:, top : top + height, left : left + width]


def resize(image: Tensor, height: int, width: int, interpolation: str = "bilinear") -> Tensor:
    """uint8 (C, H, W) -> (C, height, width), antialiased, by the kernel behind ``v2.Resize``.

    ``interpolation`` is "bilinear" or "bicubic". Called without v2, whose look at the types of its
    inputs takes as long as a quarter of the work.
    """
    if image.shape[1:] == (height, width):
        return image
    # A part of a decoded image is packed first: the kernel would copy it plane by plane.
    packed = image.permute(1, 2, 0).contiguous().permute(2, 0, 1) if len(image) == 3 else image
    size = (height, width)
    return interpolate(packed[None], size, mode=interpolation, antialias=True)[0]


def shorter_to(height: int, width: int, size: int) -> tuple[int, int]:
    """(height, width) once the shorter side is ``size``: the longer is cut to whole pixels."""
    if height <= width:
        return size, int(size * width / height)
    return int(size * height / width), size


def resize_shorter(image: Tensor, size: int, interpolation: str = "bilinear") -> Tensor:
    """Resize the shorter side to ``size`` pixels; an image that fits is returned as it is."""
    height, width = image.shape[-2:]
    if min(height, width) == size:
        return image
    return resize(image, *shorter_to(height, width, size), interpolation)


def random_window(image: Tensor, size: int, padding: int) -> Tensor:
    """A random window of ``size`` pixels of (C, H, W), padded by zeros on all four sides.

    The same window as ``v2.RandomCrop`` draws, to the bit.
    """
    padded = pad(image, [padding] * 4) if padding else image
    top, left = (_offset(side - size) for side in padded.shape[-2:])
    return padded[:, top : top + size, left : left + size]


def _offset(room: int) -> int:
    return int(torch.randint(0, room + 1, (1,))) if room > 0 else 0


def random_flip(image: Tensor) -> Tensor:
    """(..., W) mirrored or not, with the draw of ``v2.RandomHorizontalFlip``."""
    return image.flip(-1) if torch.rand(1) < 0.5 else image
