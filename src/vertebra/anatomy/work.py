"""What a network does, summed by the kind of work: what its time on a machine hangs on.

A multiply-accumulate of a depthwise convolution takes many times as long as one of a dense one. An
activation has no multiply-accumulates: a ReLU takes hardly any time, since engines do it with the
convolution before it, and a SiLU, which needs an exponential of each number, much. So a model of
cost needs them apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from vertebra.anatomy.anatomy import Anatomy
from vertebra.anatomy.costs import COPIES, VIEWS
from vertebra.anatomy.graph import ATTENTIONS, Node

KINDS = (
    "convolution",  # dense, kernel above 1
    "pointwise",  # dense, kernel 1
    "grouped",  # groups of several channels
    "depthwise",  # groups of one channel
    "linear",  # a product with weights
    "attention",  # a product of two maps
    "batch_norm",  # by stored statistics: one factor and one summand a channel
    "layer_norm",  # by the statistics of the map itself, also of groups of channels
    "exponential",  # SiLU, GELU, sigmoid, softmax: what computes an exponential a number
    "layout",  # copies, concatenation, rolling: nothing is computed
    "elementwise",  # other activations, sums, pooling: all else
)
_NORMS = {
    "native_batch_norm": "batch_norm",
    "batch_norm": "batch_norm",
    "native_layer_norm": "layer_norm",
    "layer_norm": "layer_norm",
    "native_group_norm": "layer_norm",
}
_EXPONENTIALS = frozenset(
    "silu gelu mish elu sigmoid log_sigmoid_forward softplus tanh exp erf _softmax _safe_softmax "
    "_log_softmax".split()
)
_LAYOUT = COPIES | {"cat", "stack", "roll", "index", "index_select", "constant_pad_nd", "repeat"}


@dataclass(frozen=True)
class Work:
    """Of one kind: multiply-accumulates, bytes read and written (``weights`` of them parameters),
    and the number of operations.
    """

    macs: int = 0
    bytes_moved: int = 0
    weights: int = 0
    operations: int = 0

    def to_list(self) -> list[int]:
        """As the catalogue keeps it: the fields in their order."""
        return list(vars(self).values())


def work(body: Anatomy) -> dict[str, Work]:
    """What one forward of the whole batch does, by kind; kinds that do not occur are left out."""
    totals: dict[str, list[int]] = {}
    values = body.graph.values
    # A linear layer reads its weight through a view.
    learnt = {value.storage for value in values if value.parameter is not None}
    for node, macs, moved in body.operations():
        kind = _kind(body, node, macs)
        if kind is None:
            continue
        weights = sum(
            math.prod(values[v].shape) * values[v].itemsize
            for v in dict.fromkeys(node.inputs)
            if values[v].storage in learnt
        )
        total = totals.setdefault(kind, [0, 0, 0, 0])
        for place, amount in enumerate((macs, moved, weights, 1)):
            total[place] += amount
    return {kind: Work(*totals[kind]) for kind in KINDS if kind in totals}


def _kind(body: Anatomy, node: Node, macs: int) -> str | None:
    """None for what takes no time: views, and what makes empty tensors."""
    if node.name == "convolution":
        return _kind_of_convolution(body, node)
    if macs:
        fused = node.name in ATTENTIONS or node.name in ("bmm", "baddbmm")
        return "attention" if fused else "linear"
    if node.name in _NORMS:
        return _NORMS[node.name]
    if node.name in _EXPONENTIALS:
        return "exponential"
    if node.name in _LAYOUT:
        return "layout"
    return None if node.name in VIEWS else "elementwise"


def _kind_of_convolution(body: Anatomy, node: Node) -> str:
    groups = node.attributes["groups"]
    weight = body.graph.values[node.operands["weight"][0]].shape
    if groups > 1:
        return "depthwise" if weight[1] == 1 else "grouped"
    return "pointwise" if set(weight[2:]) == {1} else "convolution"
