"""Several views of the same images at test time; whoever asks averages what the network says.

Mirrored views: Krizhevsky et al., 2012 (AlexNet), section 4.1, whose ten crops are the four corners
and the centre, each mirrored too.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf

from vertebra.core import Preprocessing, VertebraError, unknown
from vertebra.data.augment.crops import resize_shorter

NAMES = ("flip", "ten_crop")


def flip_views(images: Tensor) -> Tensor:
    """(N, C, H, W) -> (2, N, C, H, W): as they are, and mirrored left to right."""
    return torch.stack([images, images.flip(-1)])


def ten_crop_views(images: Tensor, size: int) -> Tensor:
    """(N, C, H, W) -> (10, N, C, size, size), in the order of ``v2.TenCrop``.

    Top left, top right, bottom left, bottom right, centre; then the same of the mirrored images.

    Raises:
        VertebraError: the images are smaller than ``size``.
    """
    height, width = images.shape[-2:]
    if min(height, width) < size:
        what = f"crops of {size}x{size} pixels do not fit into images of {width}x{height}"
        raise VertebraError(f"{what}: resize to {size} or more before cutting")
    return torch.cat([_five(images, size), _five(images.flip(-1), size)])


def _five(images: Tensor, size: int) -> Tensor:
    below, right = images.shape[-2] - size, images.shape[-1] - size
    corners = [(0, 0), (0, right), (below, 0), (below, right)]
    # Halves to even, as torchvision rounds.
    corners.append((round(below / 2), round(right / 2)))
    return torch.stack([images[..., y : y + size, x : x + size] for y, x in corners])


def views_of(image: Tensor, name: str, preprocessing: Preprocessing) -> Tensor:
    """The views of one decoded image: uint8 (C, H, W) -> uint8 (V, C, size, size).

    "flip" mirrors the evaluation view; "ten_crop" cuts from the image as it is after the shorter
    side was resized to ``preprocessing.resize``, so there is something to cut only where that is
    more than ``size``.

    Raises:
        VertebraError: an unknown name, or a ``preprocessing.resize`` that is less than ``size``.
    """
    if name not in NAMES:
        raise unknown("kind of test-time augmentation", name, NAMES)
    size = preprocessing.size
    resized = resize_shorter(image, preprocessing.resize, preprocessing.interpolation)
    if name == "ten_crop":
        return ten_crop_views(resized[None], size)[:, 0]
    return flip_views(tvf.center_crop(resized, [size, size])[None])[:, 0]
