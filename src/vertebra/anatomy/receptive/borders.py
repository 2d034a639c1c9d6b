"""Operations at the border of a map: padding and rolling."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vertebra.anatomy.receptive import spans
from vertebra.anatomy.receptive.reach import Reach
from vertebra.anatomy.receptive.spans import Integers, Span
from vertebra.anatomy.receptive.step import Result, Step, Transfer
from vertebra.anatomy.receptive.windows import along


def padding(step: Step) -> Result:
    """Constants around the last dimensions, which PyTorch lists from the last one back."""
    reach: Reach | None = step.first
    pad = step.attributes["pad"]
    for place in range(len(pad) // 2):
        before, after = pad[2 * place : 2 * place + 2]
        dim = len(step.shape) - 1 - place
        if reach is not None and (before, after) != (0, 0):
            padded = functools.partial(spans.padded, before=before, after=after)
            reach = along(reach, dim, step.shape[dim], padded)
    return reach


def rolling(step: Step) -> Result:
    """Cyclic shifts of whole axes."""
    reach: Reach | None = step.first
    dims = step.attributes.get("dims") or []
    for shift, dim in zip(step.attributes["shifts"], dims, strict=False):
        if reach is not None:
            rolled = functools.partial(spans.rolled, shift=shift)
            place = dim % len(step.shape)
            reach = along(reach, place, step.shape[place], rolled)
    return reach if dims else None


def _mirrored(before: int, count: int, after: int) -> Integers:
    """Positions of a reflected border: ... 2 1 0 1 2 ..."""
    places = np.abs(np.arange(-before, count + after))
    mirrored: Integers = np.minimum(places, 2 * (count - 1) - places)
    return mirrored


def _repeated(before: int, count: int, after: int) -> Integers:
    """Positions of a border that repeats the last row: ... 0 0 0 1 2 ..."""
    places: Integers = np.arange(-before, count + after).clip(0, count - 1)
    return places


def _border(taken: Callable[[int, int, int], Integers]) -> Transfer:
    """Padding with rows and columns of the map itself."""

    def transfer(step: Step) -> Result:
        reach: Reach | None = step.first
        left, right, top, bottom = step.attributes["padding"]
        for dim, (before, after) in ((-2, (top, bottom)), (-1, (left, right))):
            place = dim % len(step.shape)
            change = functools.partial(_bordered, taken=taken, before=before, after=after)
            if reach is not None:
                reach = along(reach, place, step.shape[place], change)
        return reach

    return transfer


def _bordered(
    span: Span, taken: Callable[[int, int, int], Integers], before: int, after: int
) -> Span:
    # What papers quote knows no border, so that its rule is that of zeros around the map.
    rule = spans.padded(span, before, after).rule
    places = taken(before, len(span), after)
    return replace(spans.gathered(span, places[:, None], span.jump), rule=rule)


reflection, replication = _border(_mirrored), _border(_repeated)
