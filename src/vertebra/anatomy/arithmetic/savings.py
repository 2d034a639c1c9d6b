"""A dense design beside a factored one; without biases, as batch norm follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from vertebra.anatomy.arithmetic.checks import check_axes
from vertebra.anatomy.arithmetic.macs import conv_macs
from vertebra.anatomy.arithmetic.parameters import conv_params


@dataclass(frozen=True)
class Cost:
    """Parameters, and MACs of one image."""

    params: int
    macs: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.params + other.params, self.macs + other.macs)


@dataclass(frozen=True)
class Saving:
    """Two designs for the same place in a network."""

    dense: Cost
    factored: Cost

    @property
    def params_ratio(self) -> Fraction:
        """Parameters of the factored design by those of the dense one."""
        return Fraction(self.factored.params, self.dense.params)

    @property
    def macs_ratio(self) -> Fraction:
        """MACs of the factored design by those of the dense one."""
        return Fraction(self.factored.macs, self.dense.macs)


def _square_conv(
    in_chans: int, out_chans: int, kernel: int, out_size: Sequence[int], groups: int = 1
) -> Cost:
    check_axes(map_size=out_size)
    window = (kernel,) * len(out_size)
    return Cost(
        conv_params(in_chans, out_chans, window, groups=groups, bias=False),
        conv_macs(in_chans, out_chans, window, out_size, groups=groups),
    )


def separable_saving(in_chans: int, out_chans: int, kernel: int, out_size: Sequence[int]) -> Saving:
    """A dense k x k convolution, or a depthwise k x k one and a pointwise 1 x 1 one.

    Both ratios are 1 / out_chans + 1 / k^2, whatever the input channels and the map ``out_size``
    that comes out; a stride is the depthwise convolution's. Howard et al., 2017, arXiv:1704.04861,
    section 3.1.
    """
    depthwise = _square_conv(in_chans, in_chans, kernel, out_size, groups=in_chans)
    pointwise = _square_conv(in_chans, out_chans, 1, out_size)
    return Saving(_square_conv(in_chans, out_chans, kernel, out_size), depthwise + pointwise)


def bottleneck_saving(
    channels: int, width: int, out_size: Sequence[int], *, kernel: int = 3, plain: int | None = None
) -> Saving:
    """Two k x k convolutions, or one between a 1 x 1 that reduces and a 1 x 1 that expands.

    The bottleneck takes and gives ``channels`` maps and has ``width`` inside; the two convolutions
    keep ``plain`` maps, by default ``channels`` too. He et al., 2015, arXiv:1512.03385, figure 5
    has 64 plain beside 256 channels and a width of 64, which cost about the same. Stride 1.
    """
    plain = channels if plain is None else plain
    convolution = _square_conv(plain, plain, kernel, out_size)
    bottleneck = (
        _square_conv(channels, width, 1, out_size)
        + _square_conv(width, width, kernel, out_size)
        + _square_conv(width, channels, 1, out_size)
    )
    return Saving(convolution + convolution, bottleneck)


def reduction_saving(
    in_chans: int, reduced: int, out_chans: int, kernel: int, out_size: Sequence[int]
) -> Saving:
    """A k x k convolution alone, or after a 1 x 1 one that reduces its input to ``reduced`` maps.

    The 1 x 1 costs something itself, so a mild reduction before a small kernel saves nothing: the
    ratio is then above 1. Szegedy et al., 2015, arXiv:1409.4842, section 4, figure 2b. Stride 1.
    """
    factored = _square_conv(in_chans, reduced, 1, out_size) + _square_conv(
        reduced, out_chans, kernel, out_size
    )
    return Saving(_square_conv(in_chans, out_chans, kernel, out_size), factored)
