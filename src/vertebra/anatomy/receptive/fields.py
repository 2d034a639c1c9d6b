"""The theoretical receptive field, carried through the graph operation by operation.

Along one axis the field of position ``p`` of a map is the interval of input pixels
``[start + p * jump, start + p * jump + size - 1]``. A convolution of kernel ``k``, dilation ``d``,
stride ``s`` and padding ``p`` turns (size, jump, start) into (size + (k - 1) * d * jump, jump * s,
start - p * jump); Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural
Networks", Distill, 2019. Where branches meet, the field is the union of theirs; where positions are
summed or attend to each other, each sees what all of them see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from vertebra.anatomy.graph import FRESH, Graph, Node
from vertebra.anatomy.receptive.layout import of_map
from vertebra.anatomy.receptive.masks import Masks
from vertebra.anatomy.receptive.reach import Reach, compact, sees_everything, unplaced
from vertebra.anatomy.receptive.spans import extent, of_pixels, seen_at, sees_all
from vertebra.anatomy.receptive.step import Step
from vertebra.anatomy.receptive.transfers import TRANSFERS
from vertebra.core import VertebraError

Pair = tuple[int, int]


@dataclass(frozen=True)
class ReceptiveField:
    """The input pixels that one position of a map depends on; pairs are (height, width).

    ``size`` is their extent, ``stride`` the distance between the fields of neighbouring positions
    (the jump), ``start`` the first pixel of the field of position (0, 0), negative inside the
    padding, whatever that is filled with (:meth:`box` knows what is reflected there); along an axis
    that is seen whole the stride is 0. Unless ``is_uniform``, fields differ from position to
    position, as in windows of attention: then ``size`` is that of the largest, cut to the image.
    Where ``is_global`` every position sees the whole input, and the pairs mean nothing.
    """

    size: Pair = (1, 1)
    stride: Pair = (1, 1)
    start: Pair = (0, 0)
    is_global: bool = False
    is_uniform: bool = True
    reach: Reach | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        """``427``, ``1x7``, ``up to 56`` or ``global``."""
        if self.is_global:
            return "global"
        height, width = self.size
        text = str(height) if height == width else f"{height}x{width}"
        return text if self.is_uniform else f"up to {text}"

    def box(self, row: int, column: int) -> tuple[Pair, Pair] | None:
        """What position (row, column) really sees of the image.

        Row and column are those of the tensor, in the order in which its dimensions tell positions
        apart: in a map that was transposed a row runs along a column of the image. Given are the
        (first, last) pixel of the image's rows, then of its columns; None where only padding is
        seen. Along an axis whose positions are not told apart, every position sees the same.

        Raises:
            VertebraError: the position lies outside of the map, or no network was dissected.
        """
        if self.reach is None:
            raise VertebraError("only the receptive field of a dissected network knows its image")
        bounds = []
        order = self.reach.order
        for axis in (0, 1):
            span = self.reach.spans[axis]
            position = (row, column)[order.index(axis)] if axis in self.reach.axes else 0
            if not 0 <= position < len(span):
                size = "x".join(str(len(self.reach.spans[axis])) for axis in order)
                raise VertebraError(f"position {row},{column} lies outside of a map of {size}")
            seen = seen_at(span, position)
            if seen is None:
                return None
            bounds.append(seen)
        return bounds[0], bounds[1]


Field = ReceptiveField | None  # None: not known, or the image has no part in it


@dataclass
class Fields:
    """The field of every value, and that of the last map before global pooling or flattening.

    Without either, the last map is the output; of several outputs the first one counts, of several
    maps that it is pooled from the one that sees most. ``misaligned`` are the nodes at which
    branches meet that look at different middles. ``lost`` is where the fields on the way to the
    first output could not be followed any further.
    """

    of_value: dict[int, Field] = field(default_factory=dict)
    last_map: Field = None
    misaligned: list[Node] = field(default_factory=list)
    lost: Node | None = None


def receptive_fields(graph: Graph) -> Fields:
    """Carry the fields of the first input, pixel by pixel at first, through every live node."""
    fields = Fields()
    if not graph.inputs or len(graph.values[graph.inputs[0]].shape) != 4:
        return fields
    walk = _Walk(graph, fields.misaligned.append)
    for node in graph.live_nodes():
        walk.over(node)
    fields.of_value = {value: _field(reach) for value, reach in walk.known.items()}
    maps, fields.lost = walk.last_maps()
    if fields.lost is None and maps:
        fields.last_map = max((fields.of_value[value] for value in maps), key=_sight)
    return fields


def _sight(field: Field) -> tuple[bool, int]:
    """By which the fields of several maps are compared."""
    if field is None:
        return False, 0
    return field.is_global, field.size[0] * field.size[1]


class _Walk:
    """What is known of each value so far; of those that the image has no part in, nothing."""

    def __init__(self, graph: Graph, meets: Callable[[Node], None]) -> None:
        self.graph = graph
        self.meets = meets
        self.masks = Masks(graph)
        image = graph.inputs[0]
        shape = graph.values[image].shape
        rows, columns = of_pixels(shape[2]), of_pixels(shape[3])
        start = Reach(of_map(shape), (rows, columns), (shape[2], shape[3]))
        self.known: dict[int, Reach | None] = {image: start}
        # What made each value, and what of it the image has a part in.
        self._made_by: dict[int, tuple[Node, list[int]]] = {}
        # Values that may hold a map, one of which we lost track; and where that was first.
        self._lost: dict[int, Node] = {}

    def over(self, node: Node) -> None:
        """Carry what is known through one node."""
        sources = [value for value in node.inputs if value in self.known]
        if not sources or node.name in FRESH:
            return
        self.known.update(zip(node.outputs, self._made(node, sources), strict=True))
        self._made_by.update(dict.fromkeys(node.outputs, (node, sources)))
        already = next((self._lost[value] for value in sources if value in self._lost), None)
        if already is None and not any(map(self._is_map, sources)):
            return
        unknown = [value for value in node.outputs if self.known[value] is None]
        self._lost.update(dict.fromkeys(unknown, already or node))

    def last_maps(self) -> tuple[list[int], Node | None]:
        """The maps that the first output is made of by way of what is none; itself if it is one.

        And the node that kept us from finding them all.
        """
        waiting, seen = list(self.graph.outputs[:1]), set[int]()
        maps: list[int] = []
        while waiting:
            value = waiting.pop()
            if value in self._lost:
                return maps, self._lost[value]
            if value in seen or value not in self.known:
                continue
            seen.add(value)
            if self._is_map(value):
                maps.append(value)
            elif value in self._made_by:
                waiting += self._made_by[value][1]
        return maps, None

    def _is_map(self, value: int) -> bool:
        reach = self.known.get(value)
        return reach is not None and bool(reach.axes)

    def _made(self, node: Node, sources: list[int]) -> list[Reach | None]:
        """What each output of a node knows, from what its operands know."""
        nothing: list[Reach | None] = [None] * len(node.outputs)
        reaches: dict[int, Reach] = {}
        for value in sources:
            reach = self.known[value]
            if reach is None:
                return nothing
            reaches[value] = reach
        transfer = TRANSFERS.get(node.name)
        step = Step(self.graph, node, reaches, self.masks, self.meets)
        result = transfer(step) if transfer else None
        if not step.is_followed:
            result = None
        if result is None and all(map(sees_everything, reaches.values())):
            # Whatever becomes of what sees everything, sees everything.
            first = next(iter(reaches.values()))
            return [unplaced(first, self.graph.values[v].shape) for v in node.outputs]
        return result if isinstance(result, list) else [result, *nothing[1:]]


def _field(reach: Reach | None) -> Field:
    """The two axes in one; global where, by no rule of windows, every position sees every pixel."""
    if reach is None:
        return None
    reach = compact(reach)
    if sees_everything(reach) and not any(span.rule for span in reach.spans):
        return ReceptiveField(is_global=True, reach=reach)
    rows, columns = (_numbers(reach, axis) for axis in (0, 1))
    size, stride, start = zip(rows[:3], columns[:3], strict=True)
    return ReceptiveField(size, stride, start, is_uniform=rows[3] and columns[3], reach=reach)


def _numbers(reach: Reach, axis: int) -> tuple[int, int, int, bool]:
    """Size, jump and start along one axis, and whether they hold for all positions alike."""
    span, pixels = reach.spans[axis], reach.pixels[axis]
    if span.rule:
        return span.rule.size, span.rule.jump, span.rule.start, True
    if sees_all(span, pixels):
        return pixels, 0, 0, True
    return extent(span), span.jump, min(int(span.first[0]), pixels), False
