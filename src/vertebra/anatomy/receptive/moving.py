"""Operations that only move entries: views, permutations, parts, joins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vertebra.anatomy.receptive import spans
from vertebra.anatomy.receptive.layout import Dim, plain, viewed
from vertebra.anatomy.receptive.pointwise import stretched, together
from vertebra.anatomy.receptive.reach import (
    NOTHING,
    Reach,
    alike,
    chosen,
    compact,
    everything_of,
    hull_of,
    misaligned,
)
from vertebra.anatomy.receptive.step import Result, Step


def view(step: Step) -> Result:
    """The same entries in the same order under another shape."""
    reach = step.first
    layout = viewed(reach.layout, step.shape)
    return reach.laid(layout) if layout is not None else None


def restrided(step: Step) -> Result:
    """Followed only where the shape stays, as when PyTorch relabels a map of one pixel."""
    before = step.graph.values[step.node.operands["self"][0]].shape
    return step.first if before == step.shape and step.node.operation.endswith("_") else None


def permutation(step: Step) -> Result:
    """Dimensions in another order."""
    reach = step.first
    order = list(range(len(reach.layout)))
    attributes = step.attributes
    if "dims" in attributes:
        order = [dim % len(order) for dim in attributes["dims"]]
    elif len(order) > 1:
        one, two = attributes.get("dim0", 0) % len(order), attributes.get("dim1", 1) % len(order)
        order[one], order[two] = order[two], order[one]
    return reach.laid(tuple(reach.layout[dim] for dim in order))


def unsqueeze(step: Step) -> Result:
    """A dimension of 1 more."""
    layout = list(step.first.layout)
    layout.insert(step.attributes["dim"] % (len(layout) + 1), plain(1))
    return step.first.laid(tuple(layout))


def squeeze(step: Step) -> Result:
    """Dimensions of 1 fewer."""
    reach = step.first
    dims = step.attributes.get("dim")
    rank = len(reach.layout)
    named = range(rank) if dims is None else ([dims] if isinstance(dims, int) else dims)
    gone = {dim % rank for dim in named if reach.layout[dim % rank].size == 1}
    return reach.laid(tuple(d for place, d in enumerate(reach.layout) if place not in gone))


def expansion(step: Step) -> Result:
    """Dimensions of 1 stretched, others put in front."""
    reach = stretched(step.first, step.shape)
    pairs = zip(reach.layout, step.shape, strict=True)
    return reach.laid(tuple(plain(n) if dim.size != n else dim for dim, n in pairs))


def slicing(step: Step) -> Result:
    """Part of one dimension."""
    given = step.attributes
    dim = given.get("dim", 0) % len(step.first.layout)
    bounds = slice(given.get("start"), given.get("end"), given.get("step"))
    return _part(step.first, dim, range(step.first.layout[dim].size)[bounds])


def _part(reach: Reach, dim: int, kept: Sequence[int]) -> Reach | None:
    """Some indices of one dimension."""
    own = reach.layout[dim]
    if list(kept) == list(range(own.size)):
        return reach
    if not own.tells:
        return reach.relaid(dim, plain(len(kept)))
    if own.lead or own.trail:
        return _part_beside(reach, dim, kept)
    return chosen(reach, dim, kept)


def _part_beside(reach: Reach, dim: int, kept: Sequence[int]) -> Reach | None:
    """Of a dimension with class tokens: all positions, or tokens only."""
    own = reach.layout[dim]
    inside = range(own.lead, own.size - own.trail)
    if list(kept) == list(inside):
        return reach.relaid(dim, Dim(own.factors))
    if set(kept) & set(inside) or reach.aside is None:
        return None
    tokens = replace(reach, spans=reach.aside, aside=None)
    return tokens.relaid(dim, plain(len(kept)))


def selection(step: Step) -> Result:
    """One index of one dimension, which goes."""
    return _selected(step.first, step.attributes["dim"], step.attributes["index"])


def _selected(reach: Reach, dim: int, index: int) -> Reach | None:
    dim %= len(reach.layout)
    part = _part(reach, dim, [index % reach.layout[dim].size])
    if part is None:
        return None
    return part.laid((*part.layout[:dim], *part.layout[dim + 1 :]))


def splitting(step: Step) -> Result:
    """One dimension in parts, an output each."""
    dim = step.attributes.get("dim", 0) % len(step.first.layout)
    if step.node.operation.endswith("unbind"):
        return [_selected(step.first, dim, index) for index in range(len(step.node.outputs))]
    parts: list[Reach | None] = []
    begin = 0
    for value in step.node.outputs:
        size = step.graph.values[value].shape[dim]
        parts.append(_part(step.first, dim, range(begin, begin + size)))
        begin += size
    return parts


def gating(step: Step) -> Result:
    """``glu``: the first half of a dimension by the other one, where neither holds positions."""
    dim = step.attributes.get("dim", -1) % len(step.shape)
    reach = step.first
    return None if reach.layout[dim].tells else reach.relaid(dim, plain(step.shape[dim]))


def flipping(step: Step) -> Result:
    """Dimensions back to front."""
    reach: Reach | None = step.first
    for dim in step.attributes["dims"]:
        if reach is not None and reach.layout[dim].tells:
            reach = chosen(reach, dim, range(reach.layout[dim].size)[::-1])
    return reach


def table_lookup(step: Step) -> Result:
    """Indices picked by a table: only along a dimension without positions."""
    reach = step.operand("self")
    if reach is None or "dim" not in step.attributes:
        return None
    dim = step.attributes["dim"] % len(reach.layout)
    return None if reach.layout[dim].tells else reach.relaid(dim, plain(step.shape[dim]))


def repetition(step: Step) -> Result:
    """Tiled along dimensions without positions."""
    reach = stretched(step.first, step.shape)
    pairs = list(zip(reach.layout, step.shape, strict=True))
    if any(dim.size != n and dim.tells for dim, n in pairs):
        return None
    return reach.laid(tuple(plain(n) if dim.size != n else dim for dim, n in pairs))


def concatenation(step: Step) -> Result:
    """Side by side along one dimension: channels unite, positions follow each other."""
    dim = step.attributes.get("dim", 0) % len(step.shape)
    shapes = step.graph.values
    ids = [v for v in step.node.operands["tensors"] if shapes[v].shape != (0,)]
    known = step.all_of(ids)
    reaches = [step.known.get(value) for value in ids]
    telling = [reach for reach in known if reach.layout[dim].tells]
    if len(telling) > 1:
        return _in_a_row(reaches, dim)
    if telling:
        return _beside(reaches, telling[0], dim, [shapes[v].shape[dim] for v in ids])
    if misaligned(known):
        step.meets(step.node)
    bare = [reach.relaid(dim, plain(1)) for reach in known]
    made = together(bare, (*step.shape[:dim], 1, *step.shape[dim + 1 :]))
    return made.relaid(dim, plain(step.shape[dim])) if made is not None else None


def _beside(
    reaches: Sequence[Reach | None], main: Reach, dim: int, sizes: Sequence[int]
) -> Reach | None:
    """Tokens before and after the positions of ``main``."""
    others = [reach for reach in reaches if reach is not None and reach is not main]
    if any(other.axes for other in others):
        return None
    place, own = reaches.index(main), main.layout[dim]
    joined = Dim(own.factors, own.lead + sum(sizes[:place]), own.trail + sum(sizes[place + 1 :]))
    seen = hull_of([*(everything_of(other) for other in others), main.aside or NOTHING])
    return replace(main.relaid(dim, joined), aside=seen)


def _in_a_row(reaches: Sequence[Reach | None], dim: int) -> Reach | None:
    """Maps one after the other along an axis of theirs, alike in the other one.

    Else what a position sees along one axis would depend on where it stands along the other.
    """
    maps = [compact(reach) for reach in reaches if reach is not None]
    axes = {reach.filled_by(dim) for reach in maps}
    elsewhere = {(*reach.layout[:dim], *reach.layout[dim + 1 :]) for reach in maps}
    if len(maps) < len(reaches) or len(axes) > 1 or None in axes or len(elsewhere) > 1:
        return None
    axis = next(a for a in axes if a is not None)
    row = maps[0]
    if any(not alike(row, other, 1 - axis) for other in maps[1:]):
        return None
    joined = spans.joined([reach.spans[axis] for reach in maps])
    factor = replace(row.layout[dim].factors[0], extent=len(joined))
    return row.along(axis, joined).relaid(dim, Dim((factor,)))


def stacking(step: Step) -> Result:
    """A new dimension, one index an operand."""
    dim = step.attributes.get("dim", 0) % len(step.shape)
    known = step.all_of(step.node.operands["tensors"])
    if misaligned(known):
        step.meets(step.node)
    made = together(known, (*step.shape[:dim], *step.shape[dim + 1 :]))
    if made is None:
        return None
    return made.laid((*made.layout[:dim], plain(step.shape[dim]), *made.layout[dim:]))
