"""Swin where squares say nothing: oblong images, windows that shift along one axis only."""

import pytest
import torch
from oracles.swin import ORACLES
from parity import assert_same_maps, make_pair

from vertebra.zoo import create


@pytest.mark.parametrize("size", [(24, 75), (75, 24)])
def test_oblong_images_agree_with_torchvision(size: tuple[int, int]) -> None:
    """24 pixels are 6 tokens: one window covers them, while 75 have three that shift."""
    x = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert_same_maps(make_pair(ORACLES[0]), x)


def test_maps_stay_channels_last_in_memory() -> None:
    """Else every norm would copy its map."""
    net = create("swin_t", seed=0).eval()
    with torch.no_grad():
        maps = net.features(torch.randn(2, 3, 224, 224))
    assert all(map_.is_contiguous(memory_format=torch.channels_last) for map_ in maps)
