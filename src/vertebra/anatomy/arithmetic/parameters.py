"""What convolutions, linear layers and norms learn and track."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vertebra.anatomy.arithmetic.checks import check_axes, check_counts
from vertebra.core import VertebraError


def conv_params(
    in_chans: int, out_chans: int, kernel: Sequence[int], *, groups: int = 1, bias: bool = True
) -> int:
    """Weights and biases of a convolution, transposed or not: C_in C_out k_1 k_2 / g + C_out.

    Raises:
        VertebraError: ``groups`` does not divide both numbers of channels.
    """
    _check_conv(in_chans, out_chans, groups)
    check_axes(kernel=kernel)
    return in_chans // groups * out_chans * math.prod(kernel) + out_chans * bias


def _check_conv(in_chans: int, out_chans: int, groups: int) -> None:
    check_counts(1, input_channels=in_chans, output_channels=out_chans, groups=groups)
    if in_chans % groups or out_chans % groups:
        raise VertebraError(
            f"groups must divide the channels in and out; {groups} does not divide both "
            f"{in_chans} and {out_chans}"
        )


def linear_params(in_features: int, out_features: int, *, bias: bool = True) -> int:
    """Weights and biases of a linear layer."""
    check_counts(1, in_features=in_features, out_features=out_features)
    return in_features * out_features + out_features * bias


def batch_norm_params(channels: int) -> int:
    """What batch norm learns: a scale and a shift a channel; also those of group norm.

    Ioffe and Szegedy, 2015, arXiv:1502.03167, algorithm 1.
    """
    check_counts(1, channels=channels)
    return 2 * channels


def batch_norm_statistics(channels: int) -> int:
    """What batch norm tracks without learning it: a running mean and a variance a channel.

    Buffers, not parameters: no gradient, no optimiser state, but they are part of a checkpoint.
    PyTorch keeps a count of batches besides.
    """
    check_counts(1, channels=channels)
    return 2 * channels


def layer_norm_params(width: int, *, bias: bool = True) -> int:
    """What layer norm over ``width`` features learns; it tracks nothing.

    Ba, Kiros and Hinton, 2016, arXiv:1607.06450, equation 4.
    """
    check_counts(1, width=width)
    return width * (1 + bias)
