"""ConvNeXt: what a comparison of numbers does not show."""

import torch

from vertebra.zoo import create


def test_maps_stay_channels_last_in_memory() -> None:
    """Else every norm would copy its map."""
    net = create("convnext_atto", seed=0).eval()
    with torch.no_grad():
        maps = net.features(torch.randn(2, 3, 64, 64))
    assert all(map_.is_contiguous(memory_format=torch.channels_last) for map_ in maps)
