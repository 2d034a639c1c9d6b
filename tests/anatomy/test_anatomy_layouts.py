"""Shapes and strides of operations on permuted tensors, against PyTorch's kernels for the CPU."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from vertebra.anatomy.shapes import shapes_of

aten = torch.ops.aten
many = settings(max_examples=80)


def assert_laid_out_as_on_the_cpu(func: Any, *args: Any, **kwargs: Any) -> None:
    """The same shape, and the same stride along every axis that is longer than 1."""

    def as_meta(tensor: Tensor) -> Tensor:
        return torch.empty_strided(tensor.shape, tensor.stride(), device="meta")

    real = tree_leaves(func(*args, **kwargs))
    metas = tree_map_only(Tensor, as_meta, (args, kwargs))
    ours = tree_leaves(shapes_of(func, *metas))
    for made, expected in zip(ours, real, strict=True):
        assert made.shape == expected.shape
        axes = [axis for axis, size in enumerate(expected.shape) if size > 1]
        assert [made.stride(a) for a in axes] == [expected.stride(a) for a in axes]


@st.composite
def permuted(draw: st.DrawFn, shape: tuple[int, ...]) -> Tensor:
    """A tensor of ``shape`` whose dimensions lie in memory in some order."""
    order = draw(st.permutations(range(len(shape))))
    stored = torch.zeros([shape[axis] for axis in order])
    return stored.permute([order.index(axis) for axis in range(len(shape))])


sizes = st.integers(1, 4)


@many
@given(sizes, sizes, st.booleans(), st.sampled_from([1, 2]), st.booleans())
def test_convolution(count: int, chans: int, last: bool, stride: int, depthwise: bool) -> None:
    x = torch.zeros(count, 2 * chans, 5, 6)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    groups = 2 * chans if depthwise else 1
    weight = torch.zeros(2 * chans, 2 * chans // groups, 3, 3)
    assert_laid_out_as_on_the_cpu(
        aten.convolution.default, x, weight, None, [stride], [1], [1], False, [0], groups
    )


@many
@given(st.data(), st.lists(sizes, min_size=2, max_size=4))
def test_joining(data: st.DataObject, shape: list[int]) -> None:
    parts = [data.draw(permuted(tuple(shape))) for _ in range(2)]
    dim = data.draw(st.integers(0, len(shape) - 1))
    assert_laid_out_as_on_the_cpu(aten.cat.default, parts, dim)


@many
@given(st.data(), st.lists(sizes, min_size=2, max_size=4))
def test_layer_norm(data: st.DataObject, shape: list[int]) -> None:
    x = data.draw(permuted(tuple(shape)))
    weight = torch.zeros(shape[-1])
    assert_laid_out_as_on_the_cpu(
        aten.native_layer_norm.default, x, [shape[-1]], weight, weight, 1e-5
    )


@many
@given(st.data(), st.booleans())
def test_mean(data: st.DataObject, keepdim: bool) -> None:
    x = data.draw(permuted((2, 3, 4, 5)))
    dims = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True))
    assert_laid_out_as_on_the_cpu(aten.mean.dim, x, dims, keepdim)


@many
@given(st.data(), st.sampled_from([(2, 3, 4, 5), (5,), (1,), (4, 5)]))
def test_addcmul(data: st.DataObject, side: tuple[int, ...]) -> None:
    x = data.draw(permuted((2, 3, 4, 5)))
    other = data.draw(permuted((2, 3, 4, 5)))
    same = data.draw(st.booleans())
    scale = torch.zeros_like(x) if side == tuple(x.shape) and same else torch.zeros(side)
    assert_laid_out_as_on_the_cpu(aten.addcmul.default, x, x if same else other, scale)
    assert_laid_out_as_on_the_cpu(aten.addcmul.default, x, x, scale, value=2.0)


@pytest.mark.parametrize(("queries", "keys"), itertools.product((1, 5), (5, 7)))
@pytest.mark.parametrize("masked", [False, True])
def test_attention(queries: int, keys: int, masked: bool) -> None:
    query, key, value = (torch.zeros(2, n, 3, 8).transpose(1, 2) for n in (queries, keys, keys))
    mask = torch.zeros(2, 3, queries, keys) if masked else None
    assert_laid_out_as_on_the_cpu(
        aten._scaled_dot_product_flash_attention_for_cpu.default,
        *(query, key, value),
        attn_mask=mask,
        scale=0.5,
    )


@many
@given(st.data())
def test_what_does_not_fit_is_left_to_pytorch(data: st.DataObject) -> None:
    """It complains of the same things."""
    x, other = data.draw(permuted((2, 3, 4))), data.draw(permuted((2, 3, 5)))
    assume(x.shape != other.shape)
    with pytest.raises((RuntimeError, ValueError)):
        assert_laid_out_as_on_the_cpu(aten.addcmul.default, x, other, x)
