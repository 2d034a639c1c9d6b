"""What one tensor knows of the image: where its positions lie and what each of them sees."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vertebra.anatomy.receptive import spans
from vertebra.anatomy.receptive.layout import (
    Dim,
    Factor,
    Layout,
    axes_of,
    plain,
    simplified,
    without,
)
from vertebra.anatomy.receptive.spans import Integers, Span

AXES = (0, 1)
Interval = tuple[Span, Span]  # of one position each: rows and columns


@dataclass(frozen=True, eq=False)
class Reach:
    """The receptive fields of all entries of one tensor.

    ``spans`` (rows, then columns) say what the positions of an axis see; there is one position,
    once the tensor does not tell them apart. ``aside`` is what the further indices of a dimension
    (class tokens) see, None where there are none. ``pixels`` is the size of the image.
    """

    layout: Layout
    spans: tuple[Span, Span]
    pixels: tuple[int, int]
    aside: Interval | None = None

    @property
    def axes(self) -> set[int]:
        """The axes along which positions are told apart."""
        return axes_of(self.layout)

    @property
    def order(self) -> tuple[int, int]:
        """Both axes in the order in which the dimensions tell them apart: (1, 0) if transposed."""
        factors = (factor.axis for dim in self.layout for factor in dim.spatial)
        return (1, 0) if next(factors, 0) == 1 and 0 in factors else (0, 1)

    def laid(self, layout: Layout) -> Reach:
        """The same in another layout; an axis that it lacks is seen as one."""
        return _settled(replace(self, layout=layout))

    def relaid(self, dim: int, new: Dim) -> Reach:
        """The same with another dimension ``dim``."""
        return self.laid((*self.layout[:dim], new, *self.layout[dim + 1 :]))

    def filled_by(self, dim: int) -> int | None:
        """The axis all of whose positions are this dimension, None where there is none."""
        factor = self.layout[dim].sole
        return factor.axis if factor and factor.extent == len(self.spans[factor.axis]) else None

    def along(self, axis: int, span: Span) -> Reach:
        """With another span on one axis."""
        two = (span, self.spans[1]) if axis == 0 else (self.spans[0], span)
        return replace(self, spans=two)


def _settled(reach: Reach) -> Reach:
    """One interval for each axis that the layout no longer tells apart."""
    for axis in set(AXES) - reach.axes:
        reach = reach.along(axis, spans.single(reach.spans[axis]))
    if reach.aside and not any(dim.lead or dim.trail for dim in reach.layout):
        reach = replace(reach, aside=None)
    return reach


def sizes(reach: Reach) -> tuple[int, ...]:
    """The shape of the tensor."""
    return tuple(dim.size for dim in reach.layout)


def factors_of(reach: Reach, axis: int) -> list[Factor]:
    """The factors of one axis, the outermost first."""
    own = [factor for dim in reach.layout for factor in dim.spatial if factor.axis == axis]
    return sorted(own, key=lambda factor: -factor.step)


def compact(reach: Reach) -> Reach:
    """Count only positions that the layout tells apart, as after a patch became one vector."""
    for axis in AXES:
        factors = factors_of(reach, axis)
        places = np.zeros(1, dtype=np.int64)
        for factor in factors:
            places = (places[:, None] + np.arange(factor.extent) * factor.step).reshape(-1)
        if not factors or len(places) == len(reach.spans[axis]):
            continue
        span = spans.taken(reach.spans[axis], places.tolist())
        step, steps = 1, {}
        for factor in reversed(factors):
            steps[factor] = replace(factor, step=step)
            step *= factor.extent
        layout = tuple(_renamed(dim, steps) for dim in reach.layout)
        reach = replace(reach.along(axis, span), layout=layout)
    return reach


def _renamed(dim: Dim, names: dict[Factor, Factor]) -> Dim:
    return replace(dim, factors=simplified(names.get(factor, factor) for factor in dim.factors))


def _groups(reach: Reach, axis: int, gone: Sequence[Factor], masked: bool) -> tuple[Integers, Span]:
    """A number for each position, equal for positions that differ in the factors ``gone`` only.

    Where ``masked``, positions that only a roll brought together stay apart.
    """
    span = reach.spans[axis]
    places = np.arange(len(span))
    for factor in gone:
        places = places - places // factor.step % factor.extent * factor.step
    if masked:
        runs = np.cumsum(np.diff(span.place, prepend=span.place[:1]) != 1)
        places = places * (len(span) + 1) + runs
    _, groups = np.unique(places, return_inverse=True)
    return groups.reshape(-1), span


def mixed(reach: Reach, dims: Collection[int], masked: bool = False) -> Reach:
    """Each position along ``dims`` then sees what all positions along them see."""
    chosen = [reach.layout[d] for d in dims]
    touched = axes_of(chosen)
    beside = reach.aside if any(dim.lead or dim.trail for dim in chosen) else None
    for axis in touched:
        gone = [f for dim in chosen for f in dim.spatial if f.axis == axis]
        groups, span = _groups(reach, axis, gone, masked)
        together = spans.pooled(span, groups)
        reach = reach.along(axis, spans.hull(together, beside[axis]) if beside else together)
    if beside:
        rows, columns = (
            spans.single(reach.spans[axis]) if axis in touched else beside[axis] for axis in AXES
        )
        reach = replace(reach, aside=(rows, columns))
    return reach


def merged_away(reach: Reach, dim: int, masked: bool = False) -> Reach:
    """After a sum over a dimension, which stays in the layout without positions.

    With ``masked`` each position keeps what its own part of the dimension sees.
    """
    axes = axes_of((reach.layout[dim],))
    if not axes:
        return reach
    reach = mixed(reach, [dim], masked)
    layout = list(reach.layout)
    layout[dim] = without(layout[dim], axes)
    return replace(reach, layout=tuple(layout)) if masked else reach.laid(tuple(layout))


def chosen(reach: Reach, dim: int, indices: Sequence[int]) -> Reach | None:
    """Only some indices of a dimension that is one factor; None where it is not."""
    reach = compact(reach)
    factor = reach.layout[dim].sole
    if factor is None:
        return None
    axis = factor.axis
    places = np.arange(len(reach.spans[axis]))
    digits = places // factor.step % factor.extent
    rest = places - digits * factor.step
    base = np.unique(rest)
    kept = np.asarray(indices, dtype=np.int64)
    # Outer parts, then the indices asked for, then inner parts: the order of a row-major walk.
    walk = base.reshape(-1, 1, factor.step) + kept[None, :, None] * factor.step
    span = spans.taken(reach.spans[axis], walk.reshape(-1).tolist())
    renamed = {
        f: replace(f, step=f.step // factor.extent * len(kept))
        for f in factors_of(reach, axis)
        if f.step > factor.step
    }
    layout = [_renamed(d, renamed) for d in reach.layout]
    layout[dim] = Dim((replace(factor, extent=len(kept)),))
    return replace(reach.along(axis, span), layout=tuple(layout))


def united(reaches: Sequence[Reach], layout: Layout) -> Reach | None:
    """Entry by entry the union, in ``layout``; None where positions do not fit each other."""
    own = [factor for dim in layout for factor in dim.spatial]
    if len(own) != len(set(own)):
        return None  # rows against rows, or a map plus its transpose
    result = replace(reaches[0], layout=layout)
    for axis in AXES:
        span = reaches[0].spans[axis]
        for other in reaches[1:]:
            counts = {len(span), len(other.spans[axis]), 1}
            if len(counts) > 2:
                return None
            span = spans.hull(span, other.spans[axis])
        result = result.along(axis, span)
    result = replace(result, aside=_aside(reaches, layout))
    return _settled(result)


def _aside(reaches: Sequence[Reach], layout: Layout) -> Interval | None:
    if not any(dim.lead or dim.trail for dim in layout):
        return None
    return hull_of([reach.aside or everything_of(reach) for reach in reaches])


def everything_of(reach: Reach) -> Interval:
    """What all entries together see."""
    return spans.single(reach.spans[0]), spans.single(reach.spans[1])


def hull_of(seen: Sequence[Interval]) -> Interval:
    """What holds all of these."""
    rows, columns = (spans.single(spans.joined([pair[axis] for pair in seen])) for axis in AXES)
    return rows, columns


NOTHING: Interval = (spans.NOTHING, spans.NOTHING)


def alike(one: Reach, other: Reach, axis: int) -> bool:
    """Whether position by position both see the same along an axis."""
    a, b = one.spans[axis], other.spans[axis]
    return np.array_equal(a.first, b.first) and np.array_equal(a.last, b.last)


def sees_everything(reach: Reach) -> bool:
    """Whether every entry depends on every pixel."""
    every = (*zip(reach.spans, reach.pixels, strict=True),)
    beside = (*zip(reach.aside or (), reach.pixels, strict=False),)
    return all(spans.sees_all(span, pixels) for span, pixels in (*every, *beside))


def unplaced(reach: Reach, shape: Sequence[int]) -> Reach:
    """A tensor of ``shape`` that no longer tells positions apart."""
    return replace(reach, aside=None).laid(tuple(plain(size) for size in shape))


def misaligned(reaches: Sequence[Reach]) -> bool:
    """Whether branches that meet look at different middles, or step by different distances."""
    if len(reaches) < 2:
        return False
    for axis in AXES:
        rules = [r.spans[axis].rule for r in reaches if axis in r.axes]
        if len({(rule.jump, rule.centre) for rule in rules if rule}) > 1:
            return True
    return False
