"""Operations whose outputs see a window of neighbours: convolution, pooling, resizing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vertebra.anatomy.axes import on_axis
from vertebra.anatomy.receptive import spans
from vertebra.anatomy.receptive.layout import Dim, plain
from vertebra.anatomy.receptive.reach import Reach, compact, merged_away
from vertebra.anatomy.receptive.spans import Integers, Span
from vertebra.anatomy.receptive.step import Result, Shape, Step


def convolution(step: Step) -> Result:
    """Windows over the last dimensions; an output channel sees all channels of its group."""
    reach = step.operand("input")
    if reach is None or step.operand("weight") is not None:
        return None  # kernels made from the image
    attributes = step.attributes
    if reach.layout[1].spatial:
        if attributes.get("groups", 1) > 1:
            return None
        reach = merged_away(reach, 1)
    transposed = bool(attributes.get("transposed"))
    for axis, kernel in enumerate(step.shape_of("weight")[2:]):
        stride, padding, dilation = (
            on_axis(attributes[key], axis) for key in ("stride", "padding", "dilation")
        )
        slide = (kernel, stride, padding, dilation)
        after = window(reach, 2 + axis, step.shape, slide, transposed)
        if after is None:
            return None
        reach = after
    return reach.relaid(1, plain(step.shape[1]))


def window(
    reach: Reach,
    dim: int,
    shape: Shape,
    slide: tuple[int, int, int, int],
    transposed: bool = False,
) -> Reach | None:
    """A window (kernel, stride, padding, dilation) along one dimension."""

    def slid(span: Span) -> Span:
        change = spans.spread_out if transposed else spans.windowed
        return change(span, shape[dim], *slide)

    return reach if slide[:3] == (1, 1, 0) else along(reach, dim, shape[dim], slid)


def along(reach: Reach, dim: int, size: int, change: Callable[[Span], Span]) -> Reach | None:
    """One dimension changed to ``size``.

    None unless the dimension is one whole axis of the map, or carries no positions.
    """
    if not reach.layout[dim].tells:
        return reach.relaid(dim, plain(size))
    reach = compact(reach)
    axis = reach.filled_by(dim)
    if axis is None:
        return None
    factor = replace(reach.layout[dim].factors[0], extent=size, step=1)
    return reach.along(axis, change(reach.spans[axis])).relaid(dim, Dim((factor,)))


def pooling(step: Step) -> Result:
    """Windows over as many of the last dimensions as the kernel has."""
    reach: Reach | None = step.first
    attributes, rank = step.attributes, len(step.shape)
    kernel = attributes["kernel_size"]
    axes = int(step.node.name.split("pool")[1][0])
    for axis in range(axes):
        slide = (
            on_axis(kernel, axis),
            on_axis(attributes.get("stride") or kernel, axis),  # PyTorch's default: the kernel
            on_axis(attributes.get("padding") or 0, axis),
            on_axis(attributes.get("dilation") or 1, axis),
        )
        if reach is not None:
            reach = window(reach, rank - axes + axis, step.shape, slide)
    return reach


# From positions before and after, and the factor if one was given: (after, n), the positions that
# each new one is made of.
Taps = Callable[[int, int, float | None], Integers]


def adaptive_pooling(step: Step) -> Result:
    """Output ``i`` of ``m`` sees inputs floor(i n / m) to ceil((i + 1) n / m) - 1."""

    def taps(before: int, after: int, _scale: float | None) -> Integers:
        begin = np.arange(after) * before // after
        end = -(-(np.arange(after) + 1) * before // after)
        longest = int((end - begin).max())
        made: Integers = np.minimum(begin[:, None] + np.arange(longest), end[:, None] - 1)
        return made

    return _resampled(step, taps)


def _resampled(step: Step, taps: Taps) -> Reach | None:
    """The last two dimensions resized."""

    def resized(span: Span, after: int, scale: float | None) -> Span:
        before = len(span)
        # PyTorch copies then: some modes whatever the factor, others only with none.
        if before == after and (always_copied or scale in (None, 1.0)):
            return span
        if "pool" in step.node.name and before % after == 0:
            return spans.windowed(span, after, before // after, before // after, 0, 1)
        return spans.resized(span, taps(before, after, scale))

    always_copied = not any(mode in step.node.name for mode in ("exact", "bicubic"))
    reach: Reach | None = step.first
    rank = len(step.shape)
    for dim in (rank - 2, rank - 1):
        if reach is not None and step.shape[dim] == 1 and "pool" in step.node.name:
            reach = merged_away(reach, dim).relaid(dim, plain(1))
        elif reach is not None:
            size = step.shape[dim]
            change = functools.partial(resized, after=size, scale=_scale(step, dim - rank + 2))
            reach = along(reach, dim, size, change)
    return reach


def _scale(step: Step, axis: int) -> float | None:
    """The factor that an interpolation along rows (0) or columns (1) was given."""
    factors = step.attributes.get("scale_factors")
    if factors:
        return float(factors[axis])
    given = step.attributes.get(("scales_h", "scales_w")[axis])
    return None if given is None else float(given)


def interpolation(step: Step) -> Result:
    """Each output from the positions around it: one (nearest), two (linear), four (cubic)."""
    operation, aligned = step.node.name, bool(step.attributes.get("align_corners"))

    def taps(before: int, after: int, scale: float | None) -> Integers:
        places = np.arange(after)
        # PyTorch steps by the factor that it is given, not by the ratio of the sizes.
        step = 1 / scale if scale else before / after
        if "nearest" in operation:
            return _nearest(before, after, step, "exact" in operation)[:, None]
        if aligned:
            centre = np.asarray(places * (before - 1) / max(after - 1, 1), dtype=np.float64)
        else:
            centre = np.asarray((places + 0.5) * step - 0.5, dtype=np.float64)
        if "bilinear" in operation:
            centre, around = np.where(centre < 0, 0.0, centre), np.arange(2)
        else:
            around = np.arange(-1, 3)
        # Right on a position, all others have weight zero.
        exact = np.abs(centre - centre.round()) < 1e-9
        base = np.where(exact, centre.round(), np.floor(centre)).astype(np.int64)
        made = base[:, None] + around * ~exact[:, None]
        clipped: Integers = made.clip(0, before - 1)
        return clipped

    return _resampled(step, taps)


def _nearest(before: int, after: int, step: float, exact: bool) -> Integers:
    """The position that each new one copies.

    Computed in float32 as PyTorch does for every type (``nearest_idx`` and ``nearest_exact_idx`` of
    ATen/native/UpSample.h), or a product right on an integer falls to its other side.
    """
    places = np.arange(after)
    if not exact and after in (before, 2 * before):  # whatever the factor
        return places * before // after
    corner = places.astype(np.float32) + np.float32(0.5 if exact else 0)
    copied: Integers = np.floor(corner * np.float32(step)).astype(np.int64).clip(0, before - 1)
    return copied
