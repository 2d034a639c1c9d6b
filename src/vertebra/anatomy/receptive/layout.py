"""Where the rows and columns of the image lie among the dimensions of a tensor.

A map (N, C, H, W) has its rows in one dimension; tokens (N, H W, C) have rows and columns in one;
windows (N H/7 W/7, 49, C) have each axis split over two. So a dimension is a product of
:class:`Factor`, outermost first, and a view regroups the same factors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

ROWS, COLUMNS, NEITHER = 0, 1, -1


@dataclass(frozen=True)
class Factor:
    """``extent`` indices, each ``step`` positions further along ``axis`` of the map.

    The axis is ``ROWS``, ``COLUMNS``, or ``NEITHER`` (channels, heads, images of a batch).
    """

    axis: int
    extent: int
    step: int = 1


@dataclass(frozen=True)
class Dim:
    """One dimension of a tensor: its factors, and further indices before and after them.

    The ``lead`` and ``trail`` further ones are no positions of the map: a class token before the
    patches.
    """

    factors: tuple[Factor, ...]
    lead: int = 0
    trail: int = 0

    @property
    def size(self) -> int:
        """Length of the dimension."""
        return self.lead + math.prod(f.extent for f in self.factors) + self.trail

    @property
    def spatial(self) -> tuple[Factor, ...]:
        """The factors that are positions of the map."""
        return tuple(f for f in self.factors if f.axis != NEITHER)

    @property
    def tells(self) -> bool:
        """Whether its indices are told apart: positions, or tokens beside them."""
        return bool(self.spatial or self.lead or self.trail)

    @property
    def sole(self) -> Factor | None:
        """The one axis that fills the dimension, None where there is none or more."""
        plain = len(self.factors) == 1 and not (self.lead or self.trail)
        return self.factors[0] if plain and self.factors[0].axis != NEITHER else None


Layout = tuple[Dim, ...]


def plain(extent: int) -> Dim:
    """A dimension that carries no positions."""
    return Dim((Factor(NEITHER, extent),))


def of_map(shape: Sequence[int]) -> Layout:
    """Of images (N, C, H, W) as they come in."""
    count, channels, height, width = shape
    rows, columns = Dim((Factor(ROWS, height),)), Dim((Factor(COLUMNS, width),))
    return plain(count), plain(channels), rows, columns


def axes_of(layout: Iterable[Dim]) -> set[int]:
    """Which axes of the map the dimensions carry."""
    return {factor.axis for dim in layout for factor in dim.spatial}


def simplified(factors: Iterable[Factor]) -> tuple[Factor, ...]:
    """Neighbours that are parts of one factor in their order, joined."""
    out: list[Factor] = []
    for factor in factors:
        if out and out[-1].axis == factor.axis:
            outer = out[-1]
            if factor.axis == NEITHER:
                out[-1] = Factor(NEITHER, outer.extent * factor.extent)
                continue
            # An axis of one position has no step that could contradict.
            if outer.step == factor.step * factor.extent or outer.extent == 1:
                out[-1] = Factor(factor.axis, outer.extent * factor.extent, factor.step)
                continue
        if factor.extent > 1 or factor.axis != NEITHER:
            out.append(factor)
    return tuple(out)


def viewed(layout: Layout, shape: Sequence[int]) -> Layout | None:
    """The layout after a view as ``shape``, None where a dimension cuts across factors."""
    if any(dim.lead or dim.trail for dim in layout):
        return _viewed_around(layout, shape)
    waiting = list(reversed(simplified(factor for dim in layout for factor in dim.factors)))
    dims: list[Dim] = []
    for size in shape:
        taken = _fill(size, waiting)
        if taken is None:
            return None
        dims.append(Dim(simplified(taken)))
    return tuple(dims) if all(factor.extent == 1 for factor in waiting) else None


def _fill(size: int, waiting: list[Factor]) -> list[Factor] | None:
    """Take from the end of ``waiting`` factors that make up ``size``, splitting the last one."""
    if size == 1:
        # A map of one row keeps it: a view that leaves a dimension of 1 means it to be that axis.
        one = waiting and waiting[-1].extent == 1 and waiting[-1].axis != NEITHER
        return [waiting.pop()] if one else []
    taken: list[Factor] = []
    while size > 1:
        if not waiting:
            return None
        factor = waiting.pop()
        if size % factor.extent == 0:
            taken.append(factor)
            size //= factor.extent
        elif factor.extent % size == 0:
            inner = factor.extent // size
            step = 1 if factor.axis == NEITHER else factor.step * inner
            taken.append(replace(factor, extent=size, step=step))
            waiting.append(replace(factor, extent=inner))
            size = 1
        else:
            return None
    return taken


def _viewed_around(layout: Layout, shape: Sequence[int]) -> Layout | None:
    """A view that leaves every dimension with further indices whole."""
    dims: list[Dim] = []
    rest = list(shape)
    block: list[Dim] = []
    for dim in (*layout, None):
        if dim is not None and not (dim.lead or dim.trail):
            block.append(dim)
            continue
        wanted = math.prod(d.size for d in block)
        sizes: list[int] = []
        while rest and (math.prod(sizes) < wanted or (dim is None and rest)):
            sizes.append(rest.pop(0))
        # Dimensions of 1 before the whole one belong to what went before it.
        while rest and dim is not None and rest[0] == 1 and dim.size != 1:
            sizes.append(rest.pop(0))
        part = viewed(tuple(block), sizes)
        if part is None or math.prod(sizes) != wanted:
            return None
        dims += part
        if dim is not None:
            if not rest or rest.pop(0) != dim.size:
                return None
            dims.append(dim)
        block = []
    return tuple(dims)


def without(dim: Dim, axes: Iterable[int]) -> Dim:
    """The dimension at the same size, no longer telling positions of these axes apart."""
    gone = set(axes)
    if not any(factor.axis in gone for factor in dim.spatial):
        return dim
    if dim.lead or dim.trail or gone >= axes_of((dim,)):
        return plain(dim.size)
    return Dim(simplified(Factor(NEITHER, f.extent) if f.axis in gone else f for f in dim.factors))
