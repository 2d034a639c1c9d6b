"""Receptive fields of random programs of tensor operations, entry by entry against the gradient."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from probe import assert_within_rule, bounds
from torch import Tensor, nn
from torch.nn import functional as F

from vertebra.anatomy import dissect
from vertebra.anatomy.receptive.layout import Layout

SIZE = (2, 12, 8)  # channels, rows, columns
Operation = Callable[[Tensor], Tensor]


def conv(kernel: list[int], stride: int, padding: list[int], dilation: int) -> Operation:
    def run(x: Tensor) -> Tensor:
        weight = torch.full((2, x.shape[1], *kernel), 0.5, dtype=x.dtype)
        return F.conv2d(x, weight, None, stride, padding, dilation)

    return run


def transposed(kernel: list[int], stride: int) -> Operation:
    def run(x: Tensor) -> Tensor:
        weight = torch.full((x.shape[1], 2, *kernel), 0.5, dtype=x.dtype)
        return F.conv_transpose2d(x, weight, None, stride)

    return run


def residual(kernel: int) -> Operation:
    return lambda x: x + conv([kernel, 1], 1, [kernel // 2, 0], 1)(x).sum(1, keepdim=True)


def windows(size: list[int]) -> Operation:
    """Everything in a window sees everything in it; the windows form a batch, as Swin's do."""

    def run(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        down, right = (k if extent % k == 0 else 1 for k, extent in zip(size, (h, w), strict=True))
        parts = x.reshape(n, c, h // down, down, w // right, right).permute(0, 2, 4, 3, 5, 1)
        tokens = parts.reshape(-1, down * right, c) + 1  # no query is zero
        mixed = (tokens @ tokens.mT) @ tokens
        back = mixed.reshape(n, h // down, w // right, down, right, c).permute(0, 5, 1, 3, 2, 4)
        return back.reshape(n, c, h, w)

    return run


def scattered(x: Tensor) -> Tensor:
    """Each position with those at the same place of every other 2x2 patch, as MobileViT's."""
    n, c, h, w = x.shape
    if h % 2 or w % 2:
        return x
    parts = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(3, 4)
    patches = parts.reshape(n, c, h // 2 * (w // 2), 4)
    mixed = patches + patches.sum(2, keepdim=True)
    return mixed.reshape(n, c, h // 2, w // 2, 2, 2).transpose(3, 4).reshape(n, c, h, w)


def with_token(keep: bool) -> Operation:
    """A class token before the positions, position by position work, and off it goes again."""

    def run(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        tokens = x.flatten(2).mT
        token = torch.ones((n, 1, c), dtype=x.dtype)
        tokens = torch.cat([token, tokens], dim=1) * 2 + torch.ones((h * w + 1, c), dtype=x.dtype)
        if keep:
            tokens = tokens + tokens[:, :1]
        return tokens[:, 1:].mT.reshape(n, c, h, w)

    return run


def merged(x: Tensor) -> Tensor:
    """Swin's patch merging by strided slices."""
    if x.shape[2] % 2 or x.shape[3] % 2:
        return x
    corners = [x[:, :, down::2, right::2] for right in (0, 1) for down in (0, 1)]
    return torch.cat(corners, dim=1).unflatten(1, (4, x.shape[1])).sum(1)


def sliced(start: int, step: int, axis: int) -> Operation:
    def run(x: Tensor) -> Tensor:
        begin = start if start < x.shape[axis] else 0
        return x[:, :, begin::step] if axis == 2 else x[:, :, :, begin::step]

    return run


def padded(sides: list[int]) -> Operation:
    return lambda x: F.pad(x, sides)


class Bordered:
    """Padding with rows and columns of the map, to which the rule of all positions is blind."""

    def __init__(self, sides: list[int], mode: str) -> None:
        self.sides, self.mode = sides, mode

    def __call__(self, x: Tensor) -> Tensor:
        return F.pad(x, self.sides, mode=self.mode)


def shuffled(x: Tensor) -> Tensor:
    return F.pixel_shuffle(x.repeat_interleave(4, 1) if x.shape[1] % 4 else x, 2)


def unshuffled(x: Tensor) -> Tensor:
    return x if x.shape[2] % 2 or x.shape[3] % 2 else F.pixel_unshuffle(x, 2)


def folded(kernel: list[int], stride: int, padding: int) -> Operation:
    """Patches as columns and back, where each entry of a patch sees all of it, as in VOLO."""

    def run(x: Tensor) -> Tensor:
        patches = F.unfold(x, kernel, padding=padding, stride=stride)
        mixed = patches.unflatten(1, (x.shape[1], -1))
        mixed = (mixed + mixed.sum(2, keepdim=True)).flatten(1, 2)
        return F.fold(mixed, x.shape[2:], kernel, padding=padding, stride=stride)

    return run


def gated(x: Tensor) -> Tensor:
    return (x + 1) * x.mean((2, 3), keepdim=True)


def one_row(x: Tensor) -> Tensor:
    return x + x.mean(3, keepdim=True)


def resized(size: list[int], mode: str) -> Operation:
    return lambda x: F.interpolate(x, size, mode=mode)


def scaled(factor: float, mode: str) -> Operation:
    return lambda x: F.interpolate(x, scale_factor=factor, mode=mode)


def patches_summed(x: Tensor) -> Tensor:
    """One position for each 2x2 patch, by a view and a mean over the parts of both axes."""
    n, c, h, w = x.shape
    if h % 2 or w % 2:
        return x
    return x.view(n, c, h // 2, 2, w // 2, 2).mean((3, 5)) if x.is_contiguous() else x


def pooled(kernel: int, ceil: bool) -> Operation:
    return lambda x: F.avg_pool2d(x, min(kernel, *x.shape[2:]), ceil_mode=ceil)


def adaptive(size: list[int]) -> Operation:
    return lambda x: F.adaptive_avg_pool2d(x, size)


small = st.integers(1, 3)
two = st.lists(small, min_size=2, max_size=2)
PROGRAMS: st.SearchStrategy[Operation] = st.one_of(
    st.builds(
        conv, two, st.integers(1, 2), two.map(lambda p: [n - 1 for n in p]), st.integers(1, 2)
    ),
    st.builds(transposed, two, st.integers(1, 3)),
    st.builds(residual, st.sampled_from([1, 3])),
    st.builds(windows, st.lists(st.sampled_from([1, 2, 3, 4]), min_size=2, max_size=2)),
    st.builds(with_token, st.booleans()),
    st.builds(sliced, st.integers(0, 3), st.integers(1, 3), st.sampled_from([2, 3])),
    st.builds(padded, st.lists(st.integers(0, 2), min_size=4, max_size=4)),
    st.builds(
        resized,
        st.lists(st.integers(2, 14), min_size=2, max_size=2),
        st.sampled_from(["nearest", "bilinear"]),
    ),
    st.builds(
        scaled,
        st.sampled_from([0.5, 0.7, 1.3, 1.5, 1.7, 2.0, 2.5]),
        st.sampled_from(["nearest", "nearest-exact", "bilinear"]),
    ),
    st.builds(pooled, st.integers(1, 3), st.booleans()),
    st.builds(
        Bordered,
        st.lists(st.integers(0, 2), min_size=4, max_size=4),
        st.sampled_from(["reflect", "replicate"]),
    ),
    st.builds(folded, two, st.integers(1, 2), st.integers(0, 1)),
    st.builds(adaptive, st.lists(st.integers(2, 6), min_size=2, max_size=2)),
    st.builds(
        lambda by, axis: lambda x: x.roll(by, axis), st.integers(-3, 3), st.sampled_from([2, 3])
    ),
    st.sampled_from(
        [
            scattered,
            merged,
            shuffled,
            unshuffled,
            patches_summed,
            gated,
            one_row,
            lambda x: x.mT,
            lambda x: x.flip(2),
            lambda x: torch.stack([x, x + 1], 1).sum(1),
            lambda x: torch.cat([x, conv([1, 3], 1, [0, 1], 1)(x)], 1),
            lambda x: sum(x.split(1, dim=1)),
            lambda x: torch.einsum("nchw,dc->ndhw", x, torch.ones((2, x.shape[1]), dtype=x.dtype)),
        ]
    ),
)


class Program(nn.Module):
    def __init__(self, operations: list[Operation]) -> None:
        super().__init__()
        self.operations = operations

    def forward(self, x: Tensor) -> Tensor:
        for operation in self.operations:
            # Kept small, or products of products overflow.
            x = operation(x)
            x = x / 1e3 if x.dtype == torch.float64 else x
        return x


def positions(layout: Layout, index: tuple[int, ...]) -> list[int]:
    """The place on each axis of the map that an entry of a tensor has."""
    places = [0, 0]
    for dim, at in zip(layout, index, strict=True):
        rest = at
        for factor in reversed(dim.factors):
            rest, digit = divmod(rest, factor.extent)
            if factor.axis >= 0:
                places[factor.axis] += digit * factor.step
    return places


@settings(max_examples=400)
@given(st.lists(PROGRAMS, min_size=1, max_size=5))
@example([transposed([1, 1], 3), scaled(1.3, "nearest"), scaled(0.5, "bilinear")])
def test_every_entry_of_a_program(operations: list[Operation]) -> None:
    net = Program(operations)
    x = torch.full((1, *SIZE), 0.7, dtype=torch.float64, requires_grad=True)
    try:
        out = net(x)
    except RuntimeError:
        event("cannot run")
        return
    if out.numel() == 0 or out.numel() > 2000:
        event("too small or large")
        return
    body = dissect(net, inputs=[x])
    field: Any = body.fields[body.graph.outputs[0]]
    assert field is not None
    layout = field.reach.layout
    assert [dim.size for dim in layout] == list(out.shape)
    for index in list(torch.cartesian_prod(*(torch.arange(n) for n in out.shape[2:])))[::3]:
        entry = (0, 0, *index.tolist())
        # All channels: what one of several that were joined sees is not told apart.
        every = out[(0, slice(None), *index)].sum()
        (gradient,) = torch.autograd.grad(every, x, retain_graph=True)
        # Interpolation right on a position leaves the rounding of a weight that is zero.
        found = bounds((gradient[0] > 1e-12 * gradient.max()).any(0))
        row, column = positions(layout, entry)
        assert field.box(*((row, column)[axis] for axis in field.reach.order)) == found
        borders = any(isinstance(operation, Bordered) for operation in operations)
        if found is not None and field.is_uniform and not (field.is_global or borders):
            assert_within_rule(found, field, (row, column))


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
def test_interpolation_falls_where_pytorch_rounds_it(mode: str) -> None:
    """39 / 1.3 is 30 to PyTorch, which steps in float32, and a little less in float64.

    Some modes copy where the size stays, whatever the factor, others do not. What each pixel adds
    is read from images of one pixel: the gradient of bicubic calls it a copy where it is none.
    """
    ways: list[dict[str, Any]] = [{"size": (1, after)} for after in range(1, 50, 6)]
    ways += [{"scale_factor": (1.0, by)} for by in (0.7, 1.1, 1.3, 1.5, 2.0, 2.1, 10 / 3)]
    for before in range(2, 50, 9):
        pixels = torch.eye(before, dtype=torch.float64).reshape(before, 1, 1, before)
        for way in ways:
            net = Program([functools.partial(F.interpolate, mode=mode, **way)])
            adds = net(pixels)[:, 0, 0].abs() > 1e-9
            field: Any = dissect(net, inputs=[pixels[:1]]).fields[1]
            for at in range(adds.shape[1]):
                assert field.box(0, at) == bounds(adds[None, :, at])
