"""Networks side by side: the same figures of each, and what they are made of."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vertebra.anatomy.anatomy import Anatomy


@dataclass(frozen=True)
class Comparison:
    """Figures of several networks; the first one is what the others are compared with.

    ``kinds`` counts the layers of each kind in each network, the most frequent first.
    """

    names: tuple[str, ...]
    bodies: tuple[Anatomy, ...]
    kinds: Mapping[str, tuple[int, ...]]

    def ratios(self, figure: str) -> tuple[float | None, ...]:
        """Each network's figure ("params", "macs", ...) over the first one's; None over nothing."""
        first, *_ = values = [getattr(body, figure) for body in self.bodies]
        return tuple(value / first if first and value is not None else None for value in values)

    def to_dict(self) -> dict[str, Any]:
        """Plain data under the names of :class:`Anatomy`, without its layers."""
        networks = []
        for place, (name, body) in enumerate(zip(self.names, self.bodies, strict=True)):
            figures = {key: value for key, value in body.to_dict().items() if key != "layers"}
            counts = {kind: number[place] for kind, number in self.kinds.items() if number[place]}
            networks.append({**figures, "model": name, "kinds": counts})
        return {"schema": "vertebra.comparison/1", "networks": networks}


def compare(bodies: Mapping[str, Anatomy]) -> Comparison:
    """Lay dissected networks side by side, in the order given."""
    counts = [collections.Counter(layer.kind for layer in body.layers) for body in bodies.values()]
    total: collections.Counter[str] = sum(counts, collections.Counter())
    kinds = {kind: tuple(count[kind] for count in counts) for kind, _ in total.most_common()}
    return Comparison(tuple(bodies), tuple(bodies.values()), kinds)
