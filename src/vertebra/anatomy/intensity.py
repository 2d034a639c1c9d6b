"""Which layers wait for memory and which for arithmetic, by the roofline of a machine.

A layer that does few multiply-accumulates for each byte that it moves cannot use the arithmetic of
a machine, however few they are: why EfficientNet-B0, with a tenth of ResNet-50's, is not ten times
as fast. Williams, Waterman and Patterson, "Roofline", Communications of the ACM 52, 2009.

The bytes are those of a network that runs layer by layer, each one's maps going through memory.
Engines that fuse layers, and caches that hold a map, move fewer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from vertebra.anatomy.anatomy import Anatomy
from vertebra.anatomy.graph import Value
from vertebra.core import unknown
from vertebra.machine import Roofline

_BYTES = {"fp32": 4, "bf16": 2}


@dataclass(frozen=True)
class Bound:
    """One layer under the roof: the least seconds for its arithmetic and for its traffic."""

    name: str
    kind: str
    arithmetic: float
    memory: float

    @property
    def seconds(self) -> float:
        """The larger of the two."""
        return max(self.arithmetic, self.memory)

    @property
    def by(self) -> str:
        """What the layer waits for: "memory" or "arithmetic"."""
        return "memory" if self.memory > self.arithmetic else "arithmetic"


@dataclass(frozen=True)
class Bounds:
    """Every layer of a network under the roof of one machine."""

    layers: tuple[Bound, ...]
    precision: str

    @property
    def seconds(self) -> float:
        """What the layers take one after the other, every map going through memory.

        A map that stays in a cache comes faster, and no kernel reaches both ceilings.
        """
        return sum(layer.seconds for layer in self.layers)

    @property
    def memory_share(self) -> float:
        """The part of that time in layers that wait for memory, 0 to 1."""
        waiting = sum(layer.seconds for layer in self.layers if layer.by == "memory")
        return waiting / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data under the names of this class."""
        rows = [{**vars(layer), "by": layer.by} for layer in self.layers]
        return {
            "precision": self.precision,
            "seconds": self.seconds,
            "memory_share": self.memory_share,
            "bounds": rows,
        }


def roofline_precision(body: Anatomy, precision: str | None = None) -> str:
    """The precision to lay a network under the roofline in: the given one, else its own.

    Raises:
        VertebraError: no roofline is measured in it.
    """
    own = {"float32": "fp32", "bfloat16": "bf16"}.get(body.dtype, body.dtype)
    if (precision or own) not in _BYTES:
        raise unknown("precision of a roofline", precision or own, _BYTES)
    return precision or own


def bounds(body: Anatomy, roof: Roofline, precision: str | None = None) -> Bounds:
    """Lay a network under a machine's roofline.

    Args:
        body: the network, taken apart.
        roof: what the machine can do.
        precision: "fp32" or "bf16", as if the network ran in it; None for its own.

    Raises:
        VertebraError: the roofline was not measured in this precision.
    """
    precision = roofline_precision(body, precision)
    # Products alone run at the peak that a product was measured at.
    body = replace(body, convention="torchvision")
    macs_per_second = roof.macs_per_second[precision]
    # What was captured in the network's own type moves as many bytes fewer, or more.
    captured = Value((), body.dtype).itemsize
    bytes_per_second = roof.bytes_per_second * captured / _BYTES[precision]
    return Bounds(
        tuple(
            Bound(
                layer.name,
                layer.kind,
                layer.macs / macs_per_second,
                layer.bytes_moved / bytes_per_second,
            )
            for layer in body.layers
        ),
        precision,
    )
