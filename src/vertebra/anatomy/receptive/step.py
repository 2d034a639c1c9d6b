"""One operation as its transfer sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vertebra.anatomy.graph import Graph, Node
from vertebra.anatomy.receptive.masks import Masks
from vertebra.anatomy.receptive.reach import Reach

Shape = tuple[int, ...]


@dataclass
class Step:
    """One operation on its way: what is known of its operands, by value.

    ``meets`` is to be called where branches join that look at different middles.
    """

    graph: Graph
    node: Node
    known: Mapping[int, Reach]
    masks: Masks
    meets: Callable[[Node], None]

    @property
    def shape(self) -> Shape:
        """Shape of the first output."""
        return self.graph.values[self.node.outputs[0]].shape

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Everything the operation was given that is no tensor."""
        return self.node.attributes

    @property
    def first(self) -> Reach:
        """The first operand that depends on the image."""
        return next(self.known[value] for value in self.node.inputs if value in self.known)

    def operand(self, name: str) -> Reach | None:
        """What is known of an operand; None where it does not depend on the image."""
        ids = self.node.operands.get(name, ())
        return self.known.get(ids[0]) if ids else None

    def shape_of(self, name: str) -> Shape:
        """Shape of an operand."""
        return self.graph.values[self.node.operands[name][0]].shape


# What the outputs know: one for the first (further ones are indices and statistics), or one each.
Result = Reach | None | list[Reach | None]
# None where the fields are not known: no field is better than a wrong one.
Transfer = Callable[[Step], Result]
