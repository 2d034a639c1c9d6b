"""Multiply-accumulates of convolutions and matrix products, for one image."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vertebra.anatomy.arithmetic.checks import check_axes, check_counts
from vertebra.anatomy.arithmetic.parameters import conv_params
from vertebra.core import VertebraError


def conv_macs(
    in_chans: int,
    out_chans: int,
    kernel: Sequence[int],
    out_size: Sequence[int],
    *,
    groups: int = 1,
) -> int:
    """MACs of a convolution: each position of its output meets every weight once.

    ``out_size`` is the map that comes out, (height, width) for two axes.

    Raises:
        VertebraError: ``groups`` does not divide both numbers of channels, or the kernel has other
            axes than the map.
    """
    weights = conv_params(in_chans, out_chans, kernel, groups=groups, bias=False)
    return weights * _positions(kernel, out_size)


def transposed_conv_macs(
    in_chans: int,
    out_chans: int,
    kernel: Sequence[int],
    in_size: Sequence[int],
    *,
    groups: int = 1,
) -> int:
    """MACs of a transposed convolution: each position of its *input* meets every weight once.

    Raises:
        VertebraError: as :func:`conv_macs`.
    """
    weights = conv_params(in_chans, out_chans, kernel, groups=groups, bias=False)
    return weights * _positions(kernel, in_size)


def _positions(kernel: Sequence[int], map_size: Sequence[int]) -> int:
    check_axes(map_size=map_size)
    if len(kernel) != len(map_size):
        raise VertebraError(
            f"kernel and map must have equally many axes; got {tuple(kernel)} and {tuple(map_size)}"
        )
    return math.prod(map_size)


def linear_macs(in_features: int, out_features: int, *, rows: int = 1) -> int:
    """MACs of a linear layer on ``rows`` vectors, such as tokens."""
    return matmul_macs(rows, in_features, out_features)


def matmul_macs(rows: int, inner: int, columns: int, *, batch: int = 1) -> int:
    """MACs of ``batch`` products of (rows, inner) and (inner, columns)."""
    check_counts(1, rows=rows, inner=inner, columns=columns, batch=batch)
    return batch * rows * inner * columns
