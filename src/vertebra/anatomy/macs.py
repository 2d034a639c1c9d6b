"""Multiply-accumulates of one operation, by one of three named conventions.

``torchvision``: convolutions and matrix products, without bias, norm, activation or pooling: what
torchvision publishes as ``_ops`` (in units of 1e9) for its weights.

``fvcore``: the same, and norms, adaptive average pooling and interpolation as fvcore's
``FlopCountAnalysis`` has them (:mod:`.costs`): what timm publishes as ``infer_gmacs``. Attention
that runs fused counts as its two products; fvcore passes it over.

``full``: everything. A multiply-accumulate counts one, and so does any other operation on a number:
an addition, a comparison, a division, a root, an exponential (:mod:`.costs` has the rules).

In all three one multiply-accumulate is two floating-point operations. An operation whose arithmetic
has no rule is never counted as zero: it makes the total partial.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from vertebra.anatomy.costs import FREE, FULL, FVCORE, UNPRICED, attention_scores
from vertebra.anatomy.graph import ATTENTIONS, RECURRENT, Graph, Node
from vertebra.core import unknown

Counter = Callable[[Graph, Node], int]

# Name, and what it counts.
CONVENTIONS = {
    "torchvision": "convolutions and matrix products, no bias, no norm",
    "fvcore": "convolutions, matrix products, norms, adaptive pooling; no bias, no activation",
    "full": "every operation on a number",
}


def check_convention(name: str) -> None:
    """Raise the error for an unknown convention."""
    if name not in CONVENTIONS:
        raise unknown("counting convention", name, CONVENTIONS)


def count(graph: Graph, node: Node, convention: str = "torchvision") -> int | None:
    """MACs of one node, None where the operation does arithmetic that has no rule."""
    product = products(graph, node)
    if product and any(graph.values[v].dtype.startswith("complex") for v in node.inputs):
        return None  # four real ones, or three: by kernel
    if product is None and not _without_products(node):
        return None
    if convention == "torchvision":
        return product or 0
    if convention == "fvcore":
        rule = FVCORE.get(node.name)
        return (product or 0) + (rule(graph, node) if rule else 0)
    if node.name in UNPRICED:
        return None
    rule = FULL.get(node.name)
    return (product or 0) + (rule(graph, node) if rule else 0)


def products(graph: Graph, node: Node) -> int | None:
    """Multiply-accumulates of the convolution or matrix product that the node is; None if none."""
    counter = PRODUCTS.get(node.name)
    return counter(graph, node) if counter else None


def subtotals(graph: Graph) -> dict[str, int]:
    """MACs by kind of product: "convolution", "linear", "matrix product", "attention" (fused)."""
    totals = dict.fromkeys(("convolution", "linear", "matrix product", "attention"), 0)
    # A linear layer multiplies by its weight, transposed; the image has no part in that.
    seen = set(graph.inputs)
    turned: set[int] = set()
    for node in graph.nodes:
        if not seen.isdisjoint(node.inputs):
            seen.update(node.outputs)
        elif node.name == "t":
            turned.update(node.outputs)
    for node in graph.nodes:
        macs = products(graph, node)
        if macs is None:
            continue
        if node.name == "convolution":
            kind = "convolution"
        elif node.name in ATTENTIONS or node.name.startswith(("_native", "_transformer")):
            kind = "attention"
        else:
            weighs = node.name == RECURRENT or not turned.isdisjoint(node.inputs)
            kind = "linear" if weighs else "matrix product"
        totals[kind] += macs
    return totals


def _without_products(node: Node) -> bool:
    """Whether the operation is known to hold no convolution and no matrix product."""
    return node.name in FREE or node.name in FULL or node.name in UNPRICED


def _shape(graph: Graph, node: Node, operand: str) -> tuple[int, ...]:
    return graph.values[node.operands[operand][0]].shape


def _convolution(graph: Graph, node: Node) -> int:
    """Each output position meets one kernel; transposed, each input position does."""
    weight = _shape(graph, node, "weight")
    transposed = node.attributes.get("transposed", False)
    positions = _shape(graph, node, "input") if transposed else graph.values[node.outputs[0]].shape
    return math.prod(positions) * math.prod(weight[1:])


def _matrix_product(left: str, graph: Graph, node: Node) -> int:
    """Each output entry sums over the last dimension of the left operand."""
    return math.prod(graph.values[node.outputs[0]].shape) * _shape(graph, node, left)[-1]


def _summed_batches(graph: Graph, node: Node) -> int:
    """A product for each matrix of the batch, added up."""
    return math.prod(_shape(graph, node, "batch1")) * _shape(graph, node, "batch2")[-1]


def attention_products(graph: Graph, node: Node) -> tuple[int, int]:
    """MACs of queries times keys, and of weights times values: T_q T_k d and T_q T_k d_v a head."""
    query, value = (_shape(graph, node, operand) for operand in ("query", "value"))
    scores = attention_scores(graph, node)
    return scores * query[-1], scores * value[-1]


def _attention(graph: Graph, node: Node) -> int:
    return sum(attention_products(graph, node))


def _whole_attention(graph: Graph, node: Node) -> int:
    """nn.MultiheadAttention in one operation: four projections and two products."""
    count, queries, width = _shape(graph, node, "query")
    keys = _shape(graph, node, "key")[1]
    projections = count * width * width * (2 * queries + 2 * keys)
    return projections + 2 * count * queries * keys * width


def _whole_encoder_layer(graph: Graph, node: Node) -> int:
    """nn.TransformerEncoderLayer in one operation: attention and two linear layers."""
    count, tokens, width = _shape(graph, node, "src")
    attention = 4 * count * tokens * width * width + 2 * count * tokens * tokens * width
    hidden = _shape(graph, node, "ffn_weight_1")[0]
    return attention + 2 * count * tokens * width * hidden


def recurrent_products(graph: Graph, node: Node) -> tuple[int, int]:
    """MACs that one layer of an LSTM, in one direction, spends on its inputs and on its states."""
    steps, images = _shape(graph, node, "input")[:2]
    on_input, on_state = (math.prod(_shape(graph, node, name)) for name in ("weight0", "weight1"))
    return steps * images * on_input, steps * images * on_state


def _recurrent(graph: Graph, node: Node) -> int:
    return sum(recurrent_products(graph, node))


PRODUCTS: dict[str, Counter] = {
    "convolution": _convolution,
    RECURRENT: _recurrent,
    **{
        name: functools.partial(_matrix_product, left)
        for name, left in (
            ("mm", "self"),
            ("mv", "self"),
            ("dot", "self"),
            ("vdot", "self"),
            ("bmm", "self"),
            ("addmm", "mat1"),
            ("addmv", "mat"),
            ("baddbmm", "batch1"),
        )
    },
    "addbmm": _summed_batches,
    **dict.fromkeys(ATTENTIONS, _attention),
    "_native_multi_head_attention": _whole_attention,
    "_transformer_encoder_layer_fwd": _whole_encoder_layer,
}
