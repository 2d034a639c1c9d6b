"""Compound scaling against other libraries' networks."""

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import efficientnet
from torchvision.models.efficientnet import MBConvConfig

from vertebra.anatomy.arithmetic import (
    ALPHA,
    BETA,
    GAMMA,
    compound_scale,
    scaled_channels,
    scaled_depth,
)

some = settings(max_examples=100)

# Channels and repeats of the blocks of B0: Tan and Le, 2019, table 1.
CHANNELS = (16, 24, 40, 80, 112, 192, 320)
REPEATS = (1, 2, 2, 3, 3, 4, 1)
# Width and depth of B0 to B7, as the authors released them.
RELEASED = [
    (1.0, 1.0),
    (1.0, 1.1),
    (1.1, 1.2),
    (1.2, 1.4),
    (1.4, 1.8),
    (1.6, 2.2),
    (1.8, 2.6),
    (2.0, 3.1),
]


@pytest.mark.parametrize("number", range(8))
def test_rounding_gives_the_released_networks(number: int) -> None:
    width, depth = RELEASED[number]
    with torch.device("meta"):
        theirs = timm.create_model(f"efficientnet_b{number}")
    assert [scaled_depth(repeats, depth) for repeats in REPEATS] == [len(s) for s in theirs.blocks]
    outs = [info["num_chs"] for info in theirs.feature_info]  # of five of the seven lines
    assert [scaled_channels(CHANNELS[i], width) for i in (0, 1, 2, 4, 6)] == outs
    assert scaled_channels(32, width) == theirs.conv_stem.out_channels
    assert scaled_channels(1280, width) == theirs.num_features


@some
@given(st.integers(1, 600), st.floats(0.1, 4), st.integers(1, 40))
def test_rounding_as_torchvision_does(channels: int, width: float, repeats: int) -> None:
    assert scaled_channels(channels, width) == MBConvConfig.adjust_channels(channels, width)
    assert scaled_depth(repeats, width) == MBConvConfig.adjust_depth(repeats, width)


def test_one_unit_of_phi_is_the_width_and_depth_of_b2() -> None:
    scale = compound_scale(1)
    assert (scale.width, scale.depth) == RELEASED[2]
    assert round(224 * scale.resolution) == 258  # B2 was released with 260
    assert scale.macs_factor == pytest.approx(1.2 * 1.1**2 * 1.15**2)
    assert scale.macs_factor == pytest.approx(1.92, abs=0.001)


@some
@given(st.floats(-8, 8), st.floats(1, 2), st.floats(1, 2), st.floats(1, 2))
def test_the_factor_is_a_power(phi: float, alpha: float, beta: float, gamma: float) -> None:
    scale = compound_scale(phi, alpha=alpha, beta=beta, gamma=gamma)
    log = phi * np.log([alpha, beta, gamma])
    assert np.allclose(np.log([scale.depth, scale.width, scale.resolution]), log)
    assert scale.macs_factor == pytest.approx((alpha * beta**2 * gamma**2) ** phi)


def counted(net: nn.Module, chans: int, size: int) -> float:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        net.eval()(torch.empty(1, chans, size, size, device="meta"))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize(("alpha", "beta", "gamma"), [(2, 1, 1), (1, 2, 1), (1, 1, 2), (3, 2, 5)])
def test_the_factor_is_exact_where_nothing_is_rounded(alpha: int, beta: int, gamma: int) -> None:
    def stack(depth: float, width: float) -> nn.Module:
        chans = scaled_channels(16, width)
        convs = (nn.Conv2d(chans, chans, 3, padding=1) for _ in range(scaled_depth(3, depth)))
        return nn.Sequential(*convs).to("meta")

    scale = compound_scale(1, alpha=alpha, beta=beta, gamma=gamma)
    grown = counted(stack(scale.depth, scale.width), 16 * beta, round(8 * scale.resolution))
    assert grown == counted(stack(1, 1), 16, 8) * scale.macs_factor


def test_rounding_adds_to_the_factor() -> None:
    """B0 by phi = 2, built by torchvision: 4.7 times B0's MACs where the factor says 3.7."""
    scale = compound_scale(2)

    def b0(**multipliers: float) -> nn.Module:
        lines, last = efficientnet._efficientnet_conf("efficientnet_b0", **multipliers)
        with torch.device("meta"):
            return efficientnet.EfficientNet(lines, dropout=0.2, last_channel=last)

    base = counted(b0(width_mult=1.0, depth_mult=1.0), 3, 224)
    size = round(224 * scale.resolution)
    grown = counted(b0(width_mult=scale.width, depth_mult=scale.depth), 3, size)
    assert (round(grown / base, 1), round(scale.macs_factor, 1)) == (4.7, 3.7)


def test_published_constants() -> None:
    assert (ALPHA, BETA, GAMMA) == (1.2, 1.1, 1.15)
