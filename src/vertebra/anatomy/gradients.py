"""Multiply-accumulates of the backward pass: the products that the chain rule asks for.

A convolution or matrix product has one product for each operand that needs a gradient, each as
large as itself: so the first layer of a network costs two in all and any other three, and a frozen
one less. What no gradient comes back to costs none: a branch whose output nobody uses, or uses as
an index, a condition or a constant. What fused attention computes a second time rather than keep is
not counted.
"""

from __future__ import annotations

from vertebra.anatomy.graph import ATTENTIONS, FRESH, RECURRENT, Graph, Node
from vertebra.anatomy.macs import attention_products, products, recurrent_products

_OPERANDS = {
    "convolution": ("input", "weight"),
    "mm": ("self", "mat2"),
    "bmm": ("self", "mat2"),
    "mv": ("self", "vec"),
    "dot": ("self", "tensor"),
    "vdot": ("self", "other"),
    "addmm": ("mat1", "mat2"),
    "addmv": ("mat", "vec"),
    "baddbmm": ("batch1", "batch2"),
    "addbmm": ("batch1", "batch2"),
}


def backward_products(graph: Graph) -> list[int] | None:
    """For each node the MACs of its part of the backward pass.

    None where products lie inside what autograd does not see, but hands gradients through: a
    function of one's own, a block that a reentrant checkpoint runs again.
    """
    learns = _learning(graph)
    if learns is None:
        return None
    # A gradient comes back to what an output is made of, by operations that hand it on.
    reached = {value for value in graph.outputs if learns[value]}
    costs = [0] * len(graph.nodes)
    for index, node in reversed(list(enumerate(graph.nodes))):
        if node.name not in FRESH and reached.intersection(node.outputs):
            reached.update(value for value in node.inputs if learns[value])
            costs[index] = _cost(graph, node, learns)
    return costs


def _learning(graph: Graph) -> list[bool] | None:
    """For each value whether it is, or is made of, a parameter that learns."""
    learns = [value.trainable for value in graph.values]
    # Values that a product without gradients has a part in. What a function of one's own computes
    # so, it differentiates by itself.
    hidden: set[int] = set()
    for node in graph.nodes:
        if node.name in FRESH:
            continue
        mixes = not hidden.isdisjoint(node.inputs)
        for value in node.outputs:
            passes = value in graph.differentiable
            if passes and mixes and not node.recorded:
                return None
            learns[value] = passes and any(learns[v] for v in node.inputs)
            if not node.recorded and not passes and (mixes or products(graph, node)):
                hidden.add(value)
    return learns


def _cost(graph: Graph, node: Node, learns: list[bool]) -> int:
    def wanted(name: str) -> bool:
        return any(learns[value] for value in node.operands.get(name, ()))

    if node.name in ATTENTIONS:
        scores, weighted = attention_products(graph, node)
        query, key, value = (wanted(name) for name in ("query", "key", "value"))
        # The gradient of the scores serves queries and keys; each then takes a product of its own.
        return weighted * (value + (query or key)) + scores * (query + key)
    if node.name == RECURRENT:
        given, kept = recurrent_products(graph, node)
        steps = graph.values[node.operands["input"][0]].shape[0]
        back = given * (wanted("input") + wanted("weight0")) + kept * wanted("weight1")
        # From each state to the one before it, to the initial one only if that learns.
        return back + kept // steps * (steps - 1 + wanted("hx_"))
    forward = products(graph, node)
    if not forward:
        return 0
    # Attention in one operation runs without gradients only.
    return forward * sum(wanted(name) for name in _OPERANDS.get(node.name, ()))
