"""Operations that trade positions for channels: shuffled pixels, patches as columns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vertebra.anatomy.arithmetic import conv_size
from vertebra.anatomy.axes import on_axis
from vertebra.anatomy.receptive import spans
from vertebra.anatomy.receptive.layout import COLUMNS, ROWS, Dim, Factor, axes_of, plain, viewed
from vertebra.anatomy.receptive.reach import Reach, merged_away
from vertebra.anatomy.receptive.spans import Span
from vertebra.anatomy.receptive.step import Result, Shape, Step
from vertebra.anatomy.receptive.windows import along, window


def shuffled_channels(step: Step) -> Result:
    """Channels (the second dimension) in another order: what they see as a whole stays."""
    return None if step.first.layout[1].tells else step.first


def pixel_shuffle(step: Step) -> Result:
    """(N, C r r, H, W) -> (N, C, H r, W r): each position becomes r by r."""
    factor = step.attributes["upscale_factor"]

    def spread(span: Span) -> Span:
        return spans.resized(span, np.arange(len(span) * factor)[:, None] // factor)

    return _both_axes(step, spread)


def pixel_unshuffle(step: Step) -> Result:
    """(N, C, H r, W r) -> (N, C r r, H, W): the channels of a position see r by r pixels."""
    factor = step.attributes["downscale_factor"]
    return _both_axes(
        step, lambda span: spans.windowed(span, len(span) // factor, factor, factor, 0, 1)
    )


def _both_axes(step: Step, change: Callable[[Span], Span]) -> Reach | None:
    """Rows and columns changed, in a map whose channels hold no positions."""
    rank = len(step.shape)
    reach: Reach | None = step.first
    for dim in (rank - 2, rank - 1):
        if reach is None or reach.layout[-3].tells:
            return None
        reach = along(reach, dim, step.shape[dim], change)
    return reach.relaid(rank - 3, plain(step.shape[-3])) if reach else None


def _windows(step: Step) -> list[tuple[int, int, int, int]]:
    """Kernel, stride, padding and dilation of each axis."""
    names = ("kernel_size", "stride", "padding", "dilation")
    two = ([on_axis(step.attributes[name], axis) for name in names] for axis in (0, 1))
    return [(kernel, stride, padding, dilation) for kernel, stride, padding, dilation in two]


def _patches(step: Step, size: Shape) -> list[int]:
    """Rows and columns of the grid of patches of a map of ``size``."""
    pairs = zip(size, _windows(step), strict=True)
    return [conv_size(extent, k, s, p, d) for extent, (k, s, p, d) in pairs]


def unfolding(step: Step) -> Result:
    """``im2col``: (N, C, H, W) -> (N, C k k, L), each of L patches a column."""
    reach: Reach | None = step.first
    if len(step.first.layout) != 4:
        return None
    if step.first.layout[1].tells:
        reach = merged_away(step.first, 1)
    shape = (*step.shape[:2], *_patches(step, step.shape_of("self")[2:]))
    for dim, slide in enumerate(_windows(step), start=2):
        reach = window(reach, dim, shape, slide) if reach else None
    if reach is None or any(dim.lead or dim.trail for dim in reach.layout[2:]):
        return None
    rows, columns = reach.layout[2:]
    patches = Dim((*rows.factors, *columns.factors))
    return reach.laid((reach.layout[0], plain(step.shape[1]), patches))


def folding(step: Step) -> Result:
    """``col2im``: (N, C k k, L) -> (N, C, H, W), overlapping patches added up."""
    if len(step.first.layout) != 3 or step.first.layout[1].tells:
        return None
    columns, grid = step.shape_of("self"), _patches(step, step.shape[2:])
    layout = viewed(step.first.layout, (*columns[:2], *grid))
    if layout is None:
        return None
    # A single row or column of patches, which views on the way may have dropped, is one all the
    # same: it may leave gaps.
    axes = [
        Dim((Factor(axis, 1),)) if size == 1 and axis not in axes_of(layout) else own
        for axis, size, own in zip((ROWS, COLUMNS), grid, layout[2:], strict=True)
    ]
    reach: Reach | None = step.first.laid((*layout[:2], *axes))
    for dim, slide in enumerate(_windows(step), start=2):
        reach = window(reach, dim, step.shape, slide, transposed=True) if reach else None
    return reach.relaid(1, plain(step.shape[1])) if reach else None
