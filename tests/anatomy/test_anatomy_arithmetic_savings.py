"""Factored designs against the layers built, and against the papers' numbers."""

from fractions import Fraction

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_counts import counted, macs_of
from torch import nn

from vertebra.anatomy.arithmetic import (
    Cost,
    Saving,
    bottleneck_saving,
    reduction_saving,
    separable_saving,
)

some = settings(max_examples=50)
small = st.integers(1, 4)
kernels = st.integers(1, 5)
maps = st.tuples(small, small)
channels = st.integers(1, 12)


def cost_of(net: nn.Module, in_chans: int, size: tuple[int, ...]) -> Cost:
    return Cost(counted(net), int(macs_of(net, torch.ones(1, in_chans, *size))))


def conv(in_chans: int, out_chans: int, kernel: int, **options: int) -> nn.Module:
    """Keeps the size of the map, for even kernels too."""
    before, after = (kernel - 1) // 2, kernel // 2
    window = nn.Conv2d(in_chans, out_chans, kernel, bias=False, **options)
    return nn.Sequential(nn.ZeroPad2d((before, after, before, after)), window)


@some
@given(channels, channels, kernels, maps)
def test_depthwise_separable(
    in_chans: int, out_chans: int, kernel: int, size: tuple[int, int]
) -> None:
    ours = separable_saving(in_chans, out_chans, kernel, size)
    assert ours.dense == cost_of(conv(in_chans, out_chans, kernel), in_chans, size)
    depthwise = conv(in_chans, in_chans, kernel, groups=in_chans)
    pair = nn.Sequential(depthwise, conv(in_chans, out_chans, 1))
    assert ours.factored == cost_of(pair, in_chans, size)
    expected = Fraction(1, out_chans) + Fraction(1, kernel**2)
    assert ours.macs_ratio == ours.params_ratio == expected


@some
@given(channels, channels, st.none() | channels, kernels, maps)
def test_bottleneck(
    outside: int, width: int, plain: int | None, kernel: int, size: tuple[int, int]
) -> None:
    ours = bottleneck_saving(outside, width, size, kernel=kernel, plain=plain)
    kept = outside if plain is None else plain
    two = nn.Sequential(conv(kept, kept, kernel), conv(kept, kept, kernel))
    assert ours.dense == cost_of(two, kept, size)
    three = (conv(outside, width, 1), conv(width, width, kernel), conv(width, outside, 1))
    assert ours.factored == cost_of(nn.Sequential(*three), outside, size)


@some
@given(channels, channels, channels, kernels, maps)
def test_reduction(
    in_chans: int, reduced: int, out_chans: int, kernel: int, size: tuple[int, int]
) -> None:
    ours = reduction_saving(in_chans, reduced, out_chans, kernel, size)
    assert ours.dense == cost_of(conv(in_chans, out_chans, kernel), in_chans, size)
    pair = nn.Sequential(conv(in_chans, reduced, 1), conv(reduced, out_chans, kernel))
    assert ours.factored == cost_of(pair, in_chans, size)


def test_figure_5_of_resnet() -> None:
    """He et al.: 64 maps plain and 256 with a bottleneck of 64 are similar, the latter less."""
    saving = bottleneck_saving(256, 64, (56, 56), plain=64)
    assert saving.macs_ratio == saving.params_ratio == Fraction(17, 18)
    assert bottleneck_saving(256, 64, (56, 56)).macs_ratio == Fraction(17, 288)


def test_branch_of_inception_3a() -> None:
    """192 maps to 16 to 32 by 5x5 at 28x28: Szegedy et al., table 1; 120 M become 12.4 M."""
    saving = reduction_saving(192, 16, 32, 5, (28, 28))
    assert saving == Saving(Cost(153_600, 120_422_400), Cost(15_872, 12_443_648))
    assert reduction_saving(64, 64, 64, 3, (8, 8)).macs_ratio > 1
