"""One operation as its transfer sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vertebra.anatomy.graph import Graph, Node
from vertebra.anatomy.receptive.masks import Masks
from vertebra.anatomy.receptive.reach import Reach

Shape = tuple[int, ...]


@dataclass
class Step:
    """One operation on its way: what is known of its operands, by value.

    ``meets`` is to be called where branches join that look at different middles. ``taken`` are the
    operands that a transfer has asked for: what it knows nothing of, it cannot have followed.
    """

    graph: Graph
    node: Node
    known: Mapping[int, Reach]
    masks: Masks
    meets: Callable[[Node], None]
    taken: set[int] = field(default_factory=set)

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
        return self.all_of([next(value for value in self.node.inputs if value in self.known)])[0]

    def operand(self, name: str) -> Reach | None:
        """What is known of an operand; None where it does not depend on the image."""
        found = self.all_of(self.node.operands.get(name, ())[:1])
        return found[0] if found else None

    def all_of(self, values: Iterable[int]) -> list[Reach]:
        """What is known of these values; those that do not depend on the image are left out."""
        mine = [value for value in values if value in self.known]
        self.taken.update(mine)
        return [self.known[value] for value in mine]

    @property
    def is_followed(self) -> bool:
        """Whether every operand that depends on the image was asked for."""
        return self.taken.issuperset(self.known)

    def shape_of(self, name: str) -> Shape:
        """Shape of an operand."""
        return self.graph.values[self.node.operands[name][0]].shape


# What the outputs know: one for the first (further ones are indices and statistics), or one each.
Result = Reach | None | list[Reach | None]
# None where the fields are not known: no field is better than a wrong one.
Transfer = Callable[[Step], Result]
