"""Output sizes and TensorFlow's padding against PyTorch and timm."""

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from timm.layers import pad_same
from timm.layers.padding import get_same_padding
from torch.nn import functional as F

from vertebra.anatomy.arithmetic import (
    conv_output_size,
    pool_output_size,
    same_padding,
    transposed_conv_output_size,
)
from vertebra.core import VertebraError

many = settings(max_examples=200)
some = settings(max_examples=50)
sizes = st.integers(1, 16)
kernels = st.integers(1, 5)
strides = st.integers(1, 4)
dilations = st.integers(1, 3)
paddings = st.integers(0, 4)


def size_or_none(call: Callable[[], Any]) -> int | None:
    """The last axis of what comes out, None where it is refused."""
    try:
        result = call()
    except (RuntimeError, VertebraError):
        return None
    size = result if isinstance(result, int) else result.shape[-1]
    # Whether a map without pixels is an error, PyTorch's own kernels disagree.
    return size or None


# Where PyTorch refuses, ours must, and the reverse.


@many
@given(sizes, kernels, strides, paddings, dilations)
def test_convolution_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> None:
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    x = torch.ones(1, 1, size)
    theirs = size_or_none(lambda: F.conv1d(x, torch.ones(1, 1, kernel), **options))
    assert size_or_none(lambda: conv_output_size(size, kernel, **options)) == theirs


@some
@given(st.tuples(sizes, sizes), st.tuples(kernels, kernels), strides, paddings, dilations)
def test_each_axis_has_its_own_size(
    size: tuple[int, int], kernel: tuple[int, int], stride: int, padding: int, dilation: int
) -> None:
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    x, weight = torch.ones(1, 1, *size), torch.ones(1, 1, *kernel)
    try:
        theirs = tuple(F.conv2d(x, weight, **options).shape[2:])
    except RuntimeError:
        assume(False)
    ours = (conv_output_size(n, k, **options) for n, k in zip(size, kernel, strict=True))
    assert tuple(ours) == theirs


@many
@given(sizes, kernels, st.none() | strides, paddings, dilations, st.booleans())
def test_max_pooling_size(
    size: int, kernel: int, stride: int | None, padding: int, dilation: int, ceil_mode: bool
) -> None:
    options = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "ceil_mode": ceil_mode,
    }
    x = torch.ones(1, 1, size, size)
    theirs = size_or_none(lambda: F.max_pool2d(x, kernel, **options))
    assert size_or_none(lambda: pool_output_size(size, kernel, **options)) == theirs


@many
@given(sizes, kernels, strides, paddings, st.booleans())
def test_average_pooling_size(
    size: int, kernel: int, stride: int, padding: int, ceil_mode: bool
) -> None:
    options = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    x = torch.ones(1, 1, size, size)
    theirs = size_or_none(lambda: F.avg_pool2d(x, kernel, **options))
    assert size_or_none(lambda: pool_output_size(size, kernel, **options)) == theirs


@many
@given(sizes, kernels, strides, paddings, dilations, st.integers(0, 4))
def test_transposed_convolution_size(
    size: int, kernel: int, stride: int, padding: int, dilation: int, extra: int
) -> None:
    options = {"stride": stride, "padding": padding, "dilation": dilation, "output_padding": extra}
    x, weight = torch.ones(1, 1, size, size), torch.ones(1, 1, kernel, kernel)
    theirs = size_or_none(lambda: F.conv_transpose2d(x, weight, **options))
    assert size_or_none(lambda: transposed_conv_output_size(size, kernel, **options)) == theirs


@many
@given(sizes, kernels, strides, paddings, dilations, st.data())
def test_output_padding_tells_apart_what_a_convolution_merges(
    size: int, kernel: int, stride: int, padding: int, dilation: int, data: st.DataObject
) -> None:
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    extra = data.draw(st.integers(0, stride - 1))
    try:
        up = transposed_conv_output_size(size, kernel, **options, output_padding=extra)
    except VertebraError:
        assume(False)
    assert conv_output_size(up, kernel, **options) == size


@many
@given(sizes, kernels, strides, dilations)
def test_same_padding(size: int, kernel: int, stride: int, dilation: int) -> None:
    ours = same_padding(size, kernel, stride=stride, dilation=dilation)
    assert ours.total == get_same_padding(size, kernel, stride, dilation)
    x = torch.arange(1.0, size + 1).expand(1, 1, size, size)
    padded = F.pad(x, (ours.before, ours.after, ours.before, ours.after))
    window = [kernel] * 2, [stride] * 2, [dilation] * 2
    assert torch.equal(padded, pad_same(x, *window))
    weight = torch.ones(1, 1, kernel, kernel)
    out = F.conv2d(padded, weight, stride=stride, dilation=dilation)
    assert out.shape[-1] == ours.size == torch.tensor(size / stride).ceil()
