"""Operations on the pixels of uint8 (C, H, W), C 1 or 3: the numbers of transforms v2, sooner.

transforms v2 multiplies uint8 with floats, which PyTorch does several times slower than floats with
floats, and blurs by a convolution of general size. Rounding is theirs at every step, so that the
pixels are equal to the bit; an image that has nothing to change comes back as it is.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

# ITU-R 601's luma as torchvision rounds it.
_RED, _GREEN, _BLUE = 0.2989, 0.587, 0.114


def brightness(image: Tensor, factor: float) -> Tensor:
    """``v2.functional.adjust_brightness``: 0 is black, 1 the image."""
    return image.float().mul_(factor).clamp_(0, 255).to(torch.uint8)


def contrast(image: Tensor, factor: float) -> Tensor:
    """``v2.functional.adjust_contrast``: 0 is the mean grey, 1 the image."""
    pixels = image.float()
    mean = _luma(pixels).mean(dim=(-3, -2, -1), keepdim=True)
    return _away_from(mean, pixels, factor)


def saturation(image: Tensor, factor: float) -> Tensor:
    """``v2.functional.adjust_saturation``: 0 is grey, 1 the image. Grey has none to change."""
    if len(image) == 1:
        return image
    pixels = image.float()
    return _away_from(_luma(pixels), pixels, factor)


def _luma(pixels: Tensor) -> Tensor:
    if len(pixels) == 1:
        return pixels
    red, green, blue = pixels[0:1], pixels[1:2], pixels[2:3]
    return red.mul(_RED).add_(green, alpha=_GREEN).add_(blue, alpha=_BLUE).floor_()


def _away_from(other: Tensor, pixels: Tensor, factor: float) -> Tensor:
    blended = pixels.mul_(factor).add_(other, alpha=1 - factor)
    return blended.clamp_(0, 255).to(torch.uint8)


def sharpness(image: Tensor, factor: float) -> Tensor:
    """``v2.functional.adjust_sharpness``: 0 is blurred, 1 the image.

    The blur is 3x3 ones with 5 in the middle, and leaves the border as it is.
    """
    if min(image.shape[-2:]) <= 2:
        return image
    whole = image.to(torch.int16)
    rows = whole[:, :-2] + whole[:, 1:-1] + whole[:, 2:]
    total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    total.add_(whole[:, 1:-1, 1:-1], alpha=4)
    # Thirteenths are never half a grey apart, so rounding does not ask how the sum was divided.
    blurred = total.float().div_(13).round_()
    pixels = image.float()
    inner = pixels[:, 1:-1, 1:-1]
    inner.add_(blurred.sub_(inner), alpha=1 - factor)
    return pixels.clamp_(0, 255).to(torch.uint8)


def solarize(image: Tensor, threshold: float) -> Tensor:
    """``v2.functional.solarize``: values from ``threshold`` on are inverted."""
    least = math.ceil(np.float32(threshold))  # theirs compares in float32
    if least > 255:
        return image
    return image ^ -(image >= least).view(torch.uint8)


def equalize(image: Tensor) -> Tensor:
    """``v2.functional.equalize``: each channel's histogram made even, by Pillow's table."""
    equal = np.empty(image.shape, np.uint8)
    for channel, out in zip(image.numpy(), equal, strict=True):
        counts = np.bincount(channel.ravel(), minlength=256)
        step = (channel.size - int(counts[channel.max()])) // 255
        if step == 0:
            out[...] = channel
            continue
        before = np.concatenate([[0], counts.cumsum()[:-1]])
        table = np.minimum((before + step // 2) // step, 255).astype(np.uint8)
        np.take(table, channel, out=out, mode="clip")
    return torch.from_numpy(equal)
