"""Moving, shearing and turning uint8 (C, H, W) by the nearest pixel: transforms v2's, sooner.

transforms v2 multiplies every pixel's place with a matrix of two columns, which matrix products are
slowest at, and samples each channel and a mask. Here the product is turned round and one channel is
sampled: the pixels' numbers. The pixels are those of transforms v2, but where a place lies within a
rounding error of the middle between two.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

Row = tuple[float, float, float]


def translate(image: Tensor, right: int, down: int, fill: list[float]) -> Tensor:
    """``v2.functional.affine`` by whole pixels: the image moved, ``fill`` where it was."""
    height, width = image.shape[-2:]
    moved = _colour(fill).view(-1, 1, 1).expand_as(image).contiguous()
    rows, columns = height - abs(down), width - abs(right)
    if rows > 0 and columns > 0:
        top, left = max(0, down), max(0, right)
        source = image[:, max(0, -down) :, max(0, -right) :][:, :rows, :columns]
        moved[:, top : top + rows, left : left + columns] = source
    return moved


def shear_x(image: Tensor, slope: float, fill: list[float]) -> Tensor:
    """Each row moved to the left by ``slope`` times its number, the topmost not at all."""
    slope = _as_degrees(slope)
    return _sampled(image, (1.0, slope, slope * image.shape[-2] / 2), (0.0, 1.0, 0.0), fill)


def shear_y(image: Tensor, slope: float, fill: list[float]) -> Tensor:
    """Each column moved up by ``slope`` times its number, the leftmost not at all."""
    slope = _as_degrees(slope)
    return _sampled(image, (1.0, 0.0, 0.0), (slope, 1.0, slope * image.shape[-1] / 2), fill)


def rotate(image: Tensor, degrees: float, fill: list[float]) -> Tensor:
    """``v2.functional.rotate``: turned to the left about the centre."""
    cosine, sine = math.cos(math.radians(-degrees)), math.sin(math.radians(-degrees))
    return _sampled(image, (cosine, sine, 0.0), (-sine, cosine, 0.0), fill)


def _as_degrees(slope: float) -> float:
    # There and back as in transforms v2, whose shear is an angle.
    return math.tan(math.radians(math.degrees(math.atan(slope))))


def _sampled(image: Tensor, x: Row, y: Row, fill: list[float]) -> Tensor:
    """For each pixel of the result the nearest of the image at (x . place, y . place).

    Places are (column, row, 1) from the centre, in pixels.
    """
    height, width = image.shape[-2:]
    matrix = torch.tensor([x, y]) / torch.tensor([[0.5 * width], [0.5 * height]])
    grid = matrix.mm(_places(height, width)).view(2, height, width).permute(1, 2, 0)[None]
    numbers = torch.arange(1.0, height * width + 1).view(1, 1, height, width)  # 0 is outside
    source = grid_sample(numbers, grid, mode="nearest", align_corners=False)
    pixels = torch.cat([_colour(fill).view(-1, 1), image.flatten(1)], dim=1)
    taken = pixels.numpy().take(source.flatten().long().numpy(), axis=1)
    return torch.from_numpy(taken).view_as(image)


@lru_cache(maxsize=8)
def _places(height: int, width: int) -> Tensor:
    places = torch.ones(3, height, width)
    places[0] = torch.linspace((1 - width) / 2, (width - 1) / 2, width)
    places[1] = torch.linspace((1 - height) / 2, (height - 1) / 2, height)[:, None]
    return places.flatten(1)


def _colour(fill: list[float]) -> Tensor:
    return torch.tensor(fill).round().to(torch.uint8)
