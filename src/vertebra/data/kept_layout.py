"""How a kept image lies in memory: as the decoder gave it, since a resize may round otherwise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

PLANES, PIXELS = 0, 1  # channel by channel, or pixel by pixel as a JPEG decoder writes


def layout_of(image: Tensor) -> tuple[int, NDArray[np.uint8] | None]:
    """The layout of uint8 (C, H, W) and its bytes in memory; None of a layout that is not kept."""
    channels, height, width = image.shape
    if image.stride() == (height * width, width, 1):
        return PLANES, image.numpy().reshape(-1)
    if image.stride() == (1, width * channels, channels):
        return PIXELS, image.permute(1, 2, 0).numpy().reshape(-1)
    return PLANES, None


def strided(flat: Tensor, channels: int, height: int, width: int, layout: int) -> Tensor:
    """The bytes seen as (C, H, W), with the strides that the image had."""
    if layout == PLANES:
        return flat.view(channels, height, width)
    return flat.as_strided((channels, height, width), (1, width * channels, channels))
