"""What the positions along one axis of a map see of the input: an interval of pixels each.

Two answers are carried side by side. The intervals themselves, cut to the image, hold for every
single position. The rule is the one that papers quote: size, jump and start for all positions
alike, also beyond the border, where a field reaches into the padding. It ends where positions begin
to differ, as after windows of attention, upsampling or a sum over everything.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vertebra.anatomy.arithmetic import AxisField, window_field

Integers = NDArray[np.int64]

# Ends of an interval that holds nothing, such that minimum and maximum need no special case.
_NEVER = 1 << 40


@dataclass(frozen=True, eq=False)
class Span:
    """Position ``p`` sees the pixels ``first[p]`` to ``last[p]``, none if last < first.

    ``jump`` is the distance of neighbouring positions in pixels, 0 where there is only one.
    ``place[p]`` is where the position stood before any roll of the axis: neighbours whose places do
    not follow each other were brought together by it. ``rule`` is None where none holds.
    """

    first: Integers
    last: Integers
    jump: int
    place: Integers
    rule: AxisField | None = None

    def __len__(self) -> int:
        return len(self.first)


def of_pixels(count: int) -> Span:
    """An image: each position sees itself."""
    every = np.arange(count)
    return Span(every, every, 1, every, AxisField(1, 1, 0))


def interval(first: int, last: int) -> Span:
    """One position that sees the pixels ``first`` to ``last``."""
    return Span(np.array([first]), np.array([last]), 0, np.zeros(1, dtype=np.int64))


NOTHING = interval(_NEVER, -_NEVER)


def sees_all(span: Span, pixels: int) -> bool:
    """Whether every position sees every pixel."""
    return bool((span.first <= 0).all() and (span.last >= pixels - 1).all())


def extent(span: Span) -> int:
    """Pixels of the largest interval."""
    return int((span.last - span.first + 1).max(initial=0))


def seen_at(span: Span, position: int) -> tuple[int, int] | None:
    """First and last pixel that a position sees; None if it sees nothing but padding."""
    first, last = int(span.first[position]), int(span.last[position])
    return (first, last) if first <= last else None


def gathered(span: Span, taps: Integers, jump: int) -> Span:
    """Each new position sees what its taps see: (positions, taps) of old positions, -1 for none."""
    known = np.where((taps >= 0) & (taps < len(span)), taps, -1)
    first = np.append(span.first, _NEVER)[known].min(axis=1)
    last = np.append(span.last, -_NEVER)[known].max(axis=1)
    return Span(first, last, jump, np.arange(len(taps)))


def windowed(
    span: Span, positions: int, kernel: int, stride: int, padding: int, dilation: int
) -> Span:
    """After a window slides over the axis and leaves ``positions``."""
    corner = np.arange(positions)[:, None] * stride - padding
    made = gathered(span, corner + np.arange(kernel) * dilation, span.jump * stride)
    if span.rule is None:
        return made
    return replace(made, rule=window_field(span.rule, kernel, stride, padding, dilation))


def spread_out(
    span: Span, positions: int, kernel: int, stride: int, padding: int, dilation: int
) -> Span:
    """After a transposed convolution: ``i`` goes to ``i * stride - padding + tap * dilation``."""
    if stride == 1:
        back = (kernel - 1) * dilation - padding
        return windowed(span, positions, kernel, 1, back, dilation)
    numerator = np.arange(positions)[:, None] + padding - np.arange(kernel) * dilation
    taps = np.where(numerator % stride == 0, numerator // stride, -1)
    return gathered(span, taps, max(span.jump // stride, 1))


def resized(span: Span, taps: Integers) -> Span:
    """After interpolation or adaptive pooling, by the old positions that make up each new one."""
    return gathered(span, taps, max(span.jump * len(span) // len(taps), 1))


def taken(span: Span, chosen: Sequence[int]) -> Span:
    """Only the chosen positions, in their order."""
    steps = {after - before for before, after in itertools.pairwise(chosen)} or {1}
    step = steps.pop()
    indices = np.array(chosen, dtype=np.int64)
    made = gathered(span, indices[:, None], span.jump * abs(step))
    # Every second position of a row is a row again.
    place = np.empty(len(indices), dtype=np.int64)
    place[span.place[indices].argsort(kind="stable")] = np.arange(len(indices))
    rule = None
    if span.rule and not steps and step > 0 and chosen:
        start = span.rule.start + chosen[0] * span.rule.jump
        rule = AxisField(span.rule.size, span.rule.jump * step, start)
    return replace(made, place=place, rule=rule)


def rolled(span: Span, shift: int) -> Span:
    """After a cyclic shift by ``shift`` positions."""
    first, last, place = (np.roll(x, shift) for x in (span.first, span.last, span.place))
    return Span(first, last, span.jump, place)


def joined(spans: Sequence[Span]) -> Span:
    """Maps side by side along this axis."""
    first = np.concatenate([span.first for span in spans])
    last = np.concatenate([span.last for span in spans])
    return Span(first, last, spans[0].jump, np.arange(len(first)))


def padded(span: Span, before: int, after: int) -> Span:
    """With positions added that see nothing; negative numbers cut some off."""
    taps = np.arange(-before, len(span) + after)
    made = gathered(span, taps[:, None], span.jump)
    # What was added continues the row: a window over it is no roll.
    inside = (taps >= 0) & (taps < len(span))
    place = np.where(inside, span.place[taps.clip(0, len(span) - 1)], taps)
    rule = span.rule and window_field(span.rule, 1, 1, before, 1)
    return replace(made, place=place, rule=rule)


def pooled(span: Span, groups: Integers) -> Span:
    """Each position sees what all positions of its group see."""
    first = np.full(int(groups.max(initial=0)) + 1, _NEVER)
    last = np.full(len(first), -_NEVER)
    np.minimum.at(first, groups, span.first)
    np.maximum.at(last, groups, span.last)
    return Span(first[groups], last[groups], span.jump, span.place)


def single(span: Span) -> Span:
    """The one interval that all positions together see."""
    first, last = span.first.min(keepdims=True), span.last.max(keepdims=True)
    return Span(first, last, 0, np.zeros(1, dtype=np.int64))


def hull(left: Span, right: Span) -> Span:
    """Position by position the smallest interval that holds both.

    The interval of a single position goes to all.
    """
    if left is right:
        return left
    longer = left if len(left) >= len(right) else right
    first, last = np.minimum(left.first, right.first), np.maximum(left.last, right.last)
    rule = None
    if left.rule and right.rule and len(left) == len(right):
        rule = _united(left.rule, right.rule)
    return Span(first, last, longer.jump, longer.place, rule)


def _united(left: AxisField, right: AxisField) -> AxisField | None:
    """The smallest field that holds both; None where their jumps differ."""
    if left.jump != right.jump:
        return None
    start = min(left.start, right.start)
    end = max(left.start + left.size, right.start + right.size)
    return AxisField(end - start, left.jump, start)
