"""One photograph in the shape that a network takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from vertebra.core import Preprocessing
from vertebra.core.preprocessing import channel_statistics
from vertebra.data import DecodeError, photograph, picture


def _for(channels: int, size: int) -> Preprocessing:
    return Preprocessing(size, size, *channel_statistics(channels))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(32, 32), (24, 48), (48, 24)])
@pytest.mark.parametrize("own", [True, False])
def test_any_shape(channels: int, size: tuple[int, int], own: bool, tmp_path: Path) -> None:
    path = tmp_path / "own.png"
    Image.new("RGB", (60, 50), (200, 100, 0)).save(path)
    pixels = photograph(path if own else None, _for(channels, min(size)), size)
    assert (pixels.dtype, tuple(pixels.shape)) == (torch.uint8, (channels, *size))
    if own:
        # Luma by ITU-R 601, as Pillow converts.
        expected = [200, 100, 0] if channels == 3 else [118] * channels
        assert (pixels.float().mean((1, 2)) - torch.tensor(expected)).abs().max() <= 1
    assert picture(pixels).size == (size[1], size[0])


def test_the_middle_is_cut_out(tmp_path: Path) -> None:
    """A wide picture loses its sides, as in Pillow's own ``fit``."""
    noise = np.random.default_rng(0).integers(0, 255, (40, 120, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "wide.png")
    pixels = photograph(tmp_path / "wide.png", _for(3, 40), (40, 80))
    fitted = ImageOps.fit(Image.fromarray(noise), (80, 40))
    assert np.array_equal(pixels.permute(1, 2, 0).numpy(), np.asarray(fitted))


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DecodeError):
        photograph(tmp_path / "none.png", _for(3, 32), (32, 32))
