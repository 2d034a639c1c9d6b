"""The training view from a file's bytes, the JPEG decoder shrinking what will be shrunk anyway."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vertebra.core import Preprocessing, VertebraError
from vertebra.data import jpeg
from vertebra.data.augment.view import View
from vertebra.data.decode import decode_bytes, is_strip
from vertebra.data.jpeg import Box
from vertebra.runs.recipe import AugmentSection

ViewOfBytes = Callable[[bytes, str | Path], Tensor]


def scaled_augmentation(
    section: AugmentSection, preprocessing: Preprocessing, channels: int = 3
) -> ViewOfBytes:
    """``augmentation`` for a file: (content, name) -> uint8 (channels, size, size).

    Draws the same box and all else as ``augmentation`` does of the decoded image. A JPEG file is
    decoded at 1/2, 1/4 or 1/8 of its size where what is left of the box is still at least as large
    as the output, so that pixels differ a little from those of the whole image; never where the
    box is. Which fraction hangs on box and file alone. Every other file is decoded in full.

    Raises:
        VertebraError: simplejpeg, which decodes at a fraction, is not installed.
        DecodeError: when called, for what ``decode_bytes`` refuses.
    """
    if not jpeg.AVAILABLE:
        raise VertebraError("decode: scaled needs simplejpeg (pip install simplejpeg), or say full")
    view = View(section, preprocessing)

    def run(content: bytes, name: str | Path) -> Tensor:
        header = jpeg.read_header(content)
        if header is None or is_strip(header.height, header.width):
            return view(decode_bytes(content, name, channels))
        box, size = view.plan(header.height, header.width)
        factor = fraction(box, size)
        pixels = jpeg.read_pixels(content, header, channels, factor, box)
        if pixels is None:  # a fault in the data: what it comes to is torchvision's to say
            whole = decode_bytes(content, name, channels)
            return view.finish(view.render(whole, box, size))
        image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)
        return view.finish(view.resized(image, size))

    return run


def fraction(box: Box, size: tuple[int, int]) -> int:
    """1, 2, 4 or 8: by how much ``box`` may shrink and still be at least ``size``."""
    room = min(box.height // size[0], box.width // size[1])
    return max((factor for factor in jpeg.FACTORS if factor <= room), default=1)
