"""Where the positions of a map lie among the indices of the tensor that holds it."""

from __future__ import annotations

from vertebra.anatomy.receptive import ReceptiveField
from vertebra.anatomy.receptive.layout import NEITHER, Dim

Pair = tuple[int, int]
Index = tuple[int | slice, ...]


def grid_of(field: ReceptiveField | None) -> Pair | None:
    """Rows and columns of the positions that a tensor tells apart; None where it is no map.

    In the tensor's own order, as :meth:`ReceptiveField.box` takes them.
    """
    reach = field.reach if field else None
    if reach is None or not reach.axes:
        return None
    first, second = reach.order
    return len(reach.spans[first]), len(reach.spans[second])


def middle_of(grid: Pair) -> Pair:
    """The middle position; of an even number the later one of two."""
    return grid[0] // 2, grid[1] // 2


def index_of(field: ReceptiveField, position: Pair) -> Index | None:
    """The index of one position in the tensor, all of its channels (and images).

    For (N, C, H, W), for channels last, for tokens behind a class token and for windows. None where
    a position has no index of its own.
    """
    reach = field.reach
    if reach is None:
        return None
    of_axis = (position[reach.order.index(0)], position[reach.order.index(1)])
    index = [_along(dim, of_axis) for dim in reach.layout]
    return None if None in index else tuple(entry for entry in index if entry is not None)


def _along(dim: Dim, position: Pair) -> int | slice | None:
    """Where the position lies along one dimension; everywhere if that holds no positions."""
    if not dim.spatial:
        return slice(None)
    place = 0
    for factor in dim.factors:
        if factor.axis == NEITHER:
            return None
        place = place * factor.extent + position[factor.axis] // factor.step % factor.extent
    return dim.lead + place
