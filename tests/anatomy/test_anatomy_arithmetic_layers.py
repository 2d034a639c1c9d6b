"""Parameters and MACs of convolutions, linear layers and norms against PyTorch's layers."""

from math import prod

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_counts import counted, macs_of
from torch import nn

from vertebra.anatomy.arithmetic import (
    batch_norm_params,
    batch_norm_statistics,
    conv_macs,
    conv_output_size,
    conv_params,
    layer_norm_params,
    linear_macs,
    linear_params,
    matmul_macs,
    transposed_conv_macs,
)

some = settings(max_examples=50)
small = st.integers(1, 4)
sizes = st.integers(1, 16)
kernels = st.integers(1, 5)
strides = st.integers(1, 4)


@some
@given(small, small, small, st.lists(kernels, min_size=1, max_size=3), st.booleans())
def test_convolution_parameters(
    groups: int, per_in: int, per_out: int, kernel: list[int], bias: bool
) -> None:
    channels = groups * per_in, groups * per_out
    plain = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(kernel) - 1]
    transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[len(kernel) - 1]
    ours = conv_params(*channels, kernel, groups=groups, bias=bias)
    for kind in (plain, transposed):
        assert ours == counted(kind(*channels, tuple(kernel), groups=groups, bias=bias))


@some
@given(st.integers(1, 40), st.integers(1, 40), st.booleans())
def test_parameters_of_linear_layers_and_norms(width: int, out: int, bias: bool) -> None:
    assert linear_params(width, out, bias=bias) == counted(nn.Linear(width, out, bias=bias))
    assert layer_norm_params(width, bias=bias) == counted(nn.LayerNorm(width, bias=bias))
    norm = nn.BatchNorm2d(width)
    assert batch_norm_params(width) == counted(norm) == counted(nn.GroupNorm(1, width))
    running = (norm.running_mean, norm.running_var)
    assert batch_norm_statistics(width) == sum(tensor.numel() for tensor in running)


@some
@given(
    small, small, small, st.lists(st.tuples(sizes, kernels), min_size=1, max_size=2), strides, small
)
def test_convolution_macs(
    groups: int, per_in: int, per_out: int, axes: list[tuple[int, int]], stride: int, batch: int
) -> None:
    channels = groups * per_in, groups * per_out
    kernel = tuple(k for _, k in axes)
    size = tuple(n + k for n, k in axes)
    rank = len(axes) - 1
    x = torch.ones(batch, channels[0], *size)
    options = {"stride": stride, "groups": groups}
    conv = (nn.Conv1d, nn.Conv2d)[rank](*channels, kernel, **options)
    out_size = [conv_output_size(n, k, stride=stride) for n, k in zip(size, kernel, strict=True)]
    ours = conv_macs(*channels, kernel, out_size, groups=groups)
    assert batch * ours == macs_of(conv, x)
    up = (nn.ConvTranspose1d, nn.ConvTranspose2d)[rank](*channels, kernel, **options)
    ours = transposed_conv_macs(*channels, kernel, size, groups=groups)
    assert batch * ours == macs_of(up, x)


@some
@given(sizes, sizes, sizes, small)
def test_macs_of_products(rows: int, inner: int, columns: int, batch: int) -> None:
    layer, x = nn.Linear(inner, columns), torch.ones(rows, inner)
    assert linear_macs(inner, columns, rows=rows) == macs_of(layer, x)
    left, right = torch.ones(batch, rows, inner), torch.ones(batch, inner, columns)
    assert matmul_macs(rows, inner, columns, batch=batch) == macs_of(torch.bmm, left, right)


def test_results_are_whole_numbers_however_large() -> None:
    huge = 10**30 + 1
    assert matmul_macs(huge, huge, huge) == prod([huge] * 3)
    assert conv_output_size(huge, 3, padding=1) == huge
