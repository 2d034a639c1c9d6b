"""One photograph as a network takes it, for pages and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf

from vertebra.data.decode import decode
from vertebra.data.transforms import prepare

if TYPE_CHECKING:
    from PIL.Image import Image

    from vertebra.core import Preprocessing


def photograph(path: Path | None, preprocessing: Preprocessing, size: tuple[int, int]) -> Tensor:
    """uint8 (C, height, width) of the user's image, or of a photograph that scikit-learn ships.

    A square is what ``preprocessing`` makes of it; of another ``size`` its middle, cut to fit.

    Raises:
        DecodeError: the file is no image.
    """
    channels = preprocessing.channels
    image = _sample() if path is None else decode(path, 3 if channels == 3 else 1)
    if channels != 3:
        # Of other numbers of channels nobody knows what they mean.
        grey = image if len(image) == 1 else tvf.rgb_to_grayscale(image)
        image = grey.expand(channels, -1, -1)
    if size[0] == size[1]:
        return prepare(image, preprocessing)
    scale = max(side / own for side, own in zip(size, image.shape[1:], strict=True))
    larger = [
        max(round(own * scale), side) for side, own in zip(size, image.shape[1:], strict=True)
    ]
    cut: Tensor = tvf.center_crop(tvf.resize(image, larger), list(size))
    return cut


def _sample() -> Tensor:
    from sklearn.datasets import load_sample_image

    return torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)


def picture(pixels: Tensor) -> Image:
    """To look at: the first three channels of uint8 (C, H, W), or the first one in grey."""
    from PIL import Image as Images

    shown = pixels[:3] if len(pixels) >= 3 else pixels[:1].expand(3, -1, -1)
    return Images.fromarray(shown.permute(1, 2, 0).contiguous().numpy())
