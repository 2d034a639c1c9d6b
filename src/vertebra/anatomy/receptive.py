"""The theoretical receptive field, carried through the graph operation by operation.

Along one axis the field of position ``p`` of a map is the interval of input pixels
``[start + p * jump, start + p * jump + size - 1]``. A convolution of kernel ``k``, dilation ``d``,
stride ``s`` and padding ``p`` turns (size, jump, start) into (size + (k - 1) * d * jump, jump * s,
start - p * jump); Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural
Networks", Distill, 2019. Where branches meet, the field is the union of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vertebra.anatomy.graph import Graph, Node

Pair = tuple[int, int]


@dataclass(frozen=True)
class ReceptiveField:
    """The input pixels that one position of a map depends on; pairs are (height, width).

    ``size`` is their extent, ``stride`` the distance between the fields of neighbouring positions
    (the jump), ``start`` the first pixel of the field of position (0, 0), negative inside the
    padding. Where ``is_global`` the whole input is seen, and the pairs mean nothing.
    """

    size: Pair = (1, 1)
    stride: Pair = (1, 1)
    start: Pair = (0, 0)
    is_global: bool = False

    def __str__(self) -> str:
        """``427`` or ``1x7`` or ``global``."""
        if self.is_global:
            return "global"
        height, width = self.size
        return str(height) if height == width else f"{height}x{width}"


GLOBAL = ReceptiveField(is_global=True)
Field = ReceptiveField | None  # None: not a map, or not known
Transfer = Callable[[Graph, Node, Field], Field]


@dataclass(frozen=True)
class Fields:
    """The field of every value, and that of the last map before global pooling or flattening.

    Without either, the last map is the output.
    """

    of_value: dict[int, Field]
    last_map: Field


def receptive_fields(graph: Graph) -> Fields:
    """Carry the field of the first input, pixel by pixel at first, through every live node."""
    fields: dict[int, Field] = {}
    if graph.inputs and len(graph.values[graph.inputs[0]].shape) == 4:
        fields[graph.inputs[0]] = ReceptiveField()
    pooled: set[int] = set()
    last: Field = None
    ended = False
    for node in graph.live_nodes():
        maps = [value for value in node.inputs if value in fields]
        if not maps:
            continue
        field = _after(graph, node, {value: fields[value] for value in maps})
        fields.update(dict.fromkeys(node.outputs, field))
        if all(value in pooled for value in maps):
            pooled.update(node.outputs)
        elif _is_global_pooling(graph, node):
            pooled.update(node.outputs)
            last, ended = fields[maps[0]], True
        elif len(graph.values[node.outputs[0]].shape) != 4 and _is_map(graph, maps[0]):
            # Flattened for a linear layer; any other change of rank (tokens) is not followed here.
            flat = len(graph.values[node.outputs[0]].shape) == 2
            last, ended = fields[maps[0]] if flat else None, True
    if not ended and graph.outputs:
        # Maps to the very end: a convolution, or a network without a head.
        last = fields.get(graph.outputs[0])
    return Fields(fields, last)


def _is_map(graph: Graph, value: int) -> bool:
    return len(graph.values[value].shape) == 4


def _after(graph: Graph, node: Node, fields: Mapping[int, Field]) -> Field:
    """The field of a node's outputs from those of its operands that have one."""
    if len(graph.values[node.outputs[0]].shape) != 4:
        return None
    if _is_global_pooling(graph, node):
        return GLOBAL
    name = node.operation.removeprefix("aten.").rstrip("_")
    if name.startswith("_adaptive_avg") and _keeps_size(graph, node):
        return next(iter(fields.values()))
    if name in _TRANSFERS:
        return _TRANSFERS[name](graph, node, next(iter(fields.values())))
    joined = union(list(fields.values()))
    if name == "cat":
        return joined if node.attributes.get("dim", 0) in (1, -3) else None
    if name not in _POINTWISE:
        return None
    # An operand that is stretched over all positions puts its own positions into each of them.
    spatial = graph.values[node.outputs[0]].shape[-2:]
    same = all(graph.values[value].shape[-2:] == spatial for value in fields)
    return joined if same or joined == GLOBAL else None


def _keeps_size(graph: Graph, node: Node) -> bool:
    """Adaptive pooling to the size that is there already averages single pixels."""
    before, after = node.operands["self"][0], node.outputs[0]
    return graph.values[before].shape == graph.values[after].shape


def union(fields: Sequence[Field]) -> Field:
    """The smallest field that holds all: None where one is unknown or their strides differ."""
    known = [field for field in fields if field is not None]
    if len(known) < len(fields):
        return None
    if any(field.is_global for field in known):
        return GLOBAL
    if len({field.stride for field in known}) > 1:
        return None
    starts, sizes = [], []
    for axis in (0, 1):
        start = min(field.start[axis] for field in known)
        starts.append(start)
        sizes.append(max(field.start[axis] + field.size[axis] for field in known) - start)
    return ReceptiveField((sizes[0], sizes[1]), known[0].stride, (starts[0], starts[1]))


def _is_global_pooling(graph: Graph, node: Node) -> bool:
    """A mean over both spatial axes, or adaptive pooling down to one position."""
    name = node.operation.removeprefix("aten.")
    if name == "mean":
        dims = node.attributes.get("dim")
        return dims is None or {axis % 4 for axis in dims} >= {2, 3}
    return name in ("_adaptive_avg_pool2d", "adaptive_max_pool2d") and graph.values[
        node.outputs[0]
    ].shape[-2:] == (1, 1)


def _windowed(
    field: ReceptiveField, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Field:
    if field.is_global:
        return GLOBAL
    axes = range(2)
    size = [field.size[a] + (kernel[a] - 1) * dilation[a] * field.stride[a] for a in axes]
    jump = [field.stride[a] * stride[a] for a in axes]
    start = [field.start[a] - padding[a] * field.stride[a] for a in axes]
    return ReceptiveField((size[0], size[1]), (jump[0], jump[1]), (start[0], start[1]))


def _pair(values: Sequence[int] | int) -> Pair:
    if isinstance(values, int):
        return values, values
    return (values[0], values[-1])


def _convolution(graph: Graph, node: Node, field: Field) -> Field:
    weight = graph.values[node.operands["weight"][0]].shape
    if field is None or node.attributes.get("transposed") or len(weight) != 4:
        return None
    attributes = node.attributes
    return _windowed(
        field,
        (weight[2], weight[3]),
        _pair(attributes["stride"]),
        _pair(attributes["padding"]),
        _pair(attributes["dilation"]),
    )


def _pooling(graph: Graph, node: Node, field: Field) -> Field:
    if field is None:
        return None
    attributes = node.attributes
    kernel = _pair(attributes["kernel_size"])
    return _windowed(
        field,
        kernel,
        _pair(attributes.get("stride") or kernel),  # PyTorch's default: as far as the kernel
        _pair(attributes.get("padding") or 0),
        _pair(attributes.get("dilation") or 1),
    )


def _slice(graph: Graph, node: Node, field: Field) -> Field:
    axis = node.attributes.get("dim", 0) % 4 - 2
    if field is None or field.is_global or axis < 0:
        return field
    begin, step = node.attributes.get("start") or 0, node.attributes.get("step", 1)
    if begin < 0:
        begin += graph.values[node.inputs[0]].shape[axis + 2]
    start, stride = list(field.start), list(field.stride)
    start[axis] += begin * stride[axis]
    stride[axis] *= step
    return ReceptiveField(field.size, (stride[0], stride[1]), (start[0], start[1]))


def _pad(graph: Graph, node: Node, field: Field) -> Field:
    if field is None or field.is_global:
        return field
    # PyTorch lists padding from the last axis back: left, right, top, bottom, ...
    pad = [*node.attributes["pad"], 0, 0, 0, 0]
    top, left = pad[2], pad[0]
    start = (field.start[0] - top * field.stride[0], field.start[1] - left * field.stride[1])
    return ReceptiveField(field.size, field.stride, start)


def _channels_only(graph: Graph, node: Node, field: Field) -> Field:
    return field if node.attributes.get("dim", 0) in (0, 1, -3, -4) else None


_TRANSFERS: dict[str, Transfer] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _pooling,
    "avg_pool2d": _pooling,
    "slice": _slice,
    "constant_pad_nd": _pad,
    "index_select": _channels_only,
}

# Operations under which an output position depends on the same position of each operand.
_POINTWISE = frozenset(
    """
    add sub mul div neg abs pow sqrt exp maximum minimum clamp where clone detach alias relu
    leaky_relu hardtanh hardswish hardsigmoid sigmoid tanh gelu silu elu mish softplus
    native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training
    native_dropout _to_copy contiguous
    """.split()
)
