"""Which attention is masked.

A shifted window (Liu et al., 2021, figure 4) holds positions that only the roll has brought there,
and a mask keeps them apart. Without numbers a mask shows by where it comes from: from no parameter,
as a learnt bias of positions does, and from no image, but from a comparison, a fill, or a buffer
that is called a mask.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from vertebra.anatomy.graph import FRESH, Graph, Node

_LEARNT, _SEEN = 1, 2
# Between the scores and their softmax, and between the softmax and the values.
_PASSING = frozenset(
    """
    view _unsafe_view reshape expand permute transpose unsqueeze squeeze clone contiguous detach
    _to_copy alias mul div clamp repeat native_dropout dropout select slice unbind
    """.split()
)
_CHOOSING = frozenset("masked_fill where eq ne lt le gt ge tril triu logical_not".split())
_SUMS = frozenset(("add", "sub"))
_PRODUCTS = frozenset(("bmm", "mm", "baddbmm"))


class Masks:
    """Answers whether what a node of attention mixes is masked."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def apply_to(self, node: Node) -> bool:
        """For a fused attention, or a product before or after a softmax."""
        if "attn_mask" in node.operands:
            return self._has_mask(node.operands["attn_mask"][0])
        return id(node) in self._masked_products

    def part_what_was_rolled(self) -> bool:
        """Whether masks are those of shifted windows; else they hide we do not know what."""
        return self._rolled

    @functools.cached_property
    def _rolled(self) -> bool:
        return any(node.name == "roll" for node in self._graph.nodes)

    @functools.cached_property
    def _makers(self) -> dict[int, Node]:
        return {value: node for node in self._graph.nodes for value in node.outputs}

    @functools.cached_property
    def _origins(self) -> list[int]:
        """For each value whether parameters (1) or the image (2) have a part in it."""
        values = self._graph.values
        origins = [_LEARNT if value.parameter is not None else 0 for value in values]
        for value in self._graph.inputs:
            origins[value] = _SEEN
        for node in self._graph.nodes:
            mixed = 0
            if node.name not in FRESH:
                for value in node.inputs:
                    mixed |= origins[value]
            for value in node.outputs:
                origins[value] = mixed
        return origins

    def _has_mask(self, value: int) -> bool:
        """Whether a sum holds a term that is neither learnt nor seen, and masks."""
        if not self._origins[value]:
            return self._hides(value)
        node = self._makers.get(value)
        if node is None or node.name not in _SUMS | _PASSING:
            return False
        terms = node.inputs if node.name in _SUMS else node.inputs[:1]
        return any(self._has_mask(term) for term in terms)

    def _hides(self, value: int) -> bool:
        """Whether a constant is made by choosing places, or is called a mask."""
        waiting, seen = [value], set()
        while waiting:
            current = waiting.pop()
            if current in seen:
                continue
            seen.add(current)
            name = self._graph.values[current].buffer or ""
            node = self._makers.get(current)
            if "mask" in name.lower() or (node is not None and node.name in _CHOOSING):
                return True
            waiting += node.inputs if node is not None else ()
        return False

    @functools.cached_property
    def _masked_products(self) -> frozenset[int]:
        found: set[int] = set()
        for node in self._graph.nodes:
            if node.name in ("_softmax", "_safe_softmax"):
                product, masked = self._scores_of(node)
                if masked and product is not None:
                    found.add(id(product))
                    found.update(id(user) for user in self._products_after(node))
        return frozenset(found)

    def _scores_of(self, softmax: Node) -> tuple[Node | None, bool]:
        """The product whose scores a softmax takes, and whether a mask was added on the way."""
        masked, value = False, softmax.inputs[0]
        while (node := self._makers.get(value)) is not None:
            name = node.name
            if name in _PRODUCTS:
                return node, masked
            seen = [v for v in node.inputs if self._origins[v] & _SEEN]
            if not seen or name not in _PASSING | _SUMS | {"masked_fill", "where"}:
                return None, masked
            if name in _SUMS:
                masked |= any(self._has_mask(v) for v in node.inputs if v not in seen)
            masked |= name in ("masked_fill", "where")
            value = seen[0]
        return None, masked

    @functools.cached_property
    def _users(self) -> dict[int, list[Node]]:
        users: dict[int, list[Node]] = {}
        for node in self._graph.nodes:
            for value in node.inputs:
                users.setdefault(value, []).append(node)
        return users

    def _products_after(self, softmax: Node) -> Iterator[Node]:
        """The products that take a softmax's weights."""
        waiting = list(softmax.outputs)
        while waiting:
            for node in self._users.get(waiting.pop(), []):
                if node.name in _PRODUCTS:
                    yield node
                elif node.name in _PASSING:
                    waiting += node.outputs
