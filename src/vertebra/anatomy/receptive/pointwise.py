"""Operations under which an entry depends on the same entry of each operand."""

from __future__ import annotations

from collections.abc import Sequence

from vertebra.anatomy.receptive.layout import Dim, Layout, plain
from vertebra.anatomy.receptive.reach import Reach, compact, misaligned, sizes, united
from vertebra.anatomy.receptive.step import Result, Shape, Step


def pointwise(step: Step) -> Result:
    """Entry by entry from all operands, axes of length 1 stretched."""
    reaches = step.all_of(step.node.inputs)
    if len(reaches) == 1 and sizes(reaches[0]) == step.shape:
        return reaches[0]
    if misaligned(reaches):
        step.meets(step.node)
    return together(reaches, step.shape)


def written(step: Step) -> Result:
    """A view of memory that another view wrote to: followed only where no image was written."""
    return step.operand("self") if step.operand("source") is None else None


def together(reaches: Sequence[Reach], shape: Shape) -> Reach | None:
    """The union of tensors that are broadcast to ``shape``."""
    fitted = [stretched(reach, shape) for reach in reaches]
    # A sum over part of an axis still numbers positions as the whole does; a map of its own not.
    found = _union(fitted, shape)
    return found if found is not None else _union([compact(reach) for reach in fitted], shape)


def _union(reaches: Sequence[Reach], shape: Shape) -> Reach | None:
    layout = agreed(reaches, shape)
    return united(reaches, layout) if layout is not None else None


def stretched(reach: Reach, shape: Shape) -> Reach:
    """With leading dimensions added, and no positions where one is stretched over many."""
    if sizes(reach) == shape:
        return reach
    dims = [*(plain(1) for _ in range(len(shape) - len(reach.layout))), *reach.layout]
    pairs = zip(dims, shape, strict=True)
    return reach.laid(tuple(plain(n) if dim.size == 1 and n > 1 else dim for dim, n in pairs))


def agreed(reaches: Sequence[Reach], shape: Shape) -> Layout | None:
    """What the first dimensions, as many as ``shape`` has, tell apart in any of the tensors.

    None where two contradict each other.
    """
    dims: list[Dim] = []
    for place, size in enumerate(shape):
        telling = {r.layout[place] for r in reaches if r.layout[place].tells}
        if len(telling) > 1:
            return None
        dims.append(telling.pop() if telling else plain(size))
    return tuple(dims)
