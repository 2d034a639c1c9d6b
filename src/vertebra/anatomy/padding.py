"""Kernel taps that meet nothing but padding."""

from __future__ import annotations

from collections.abc import Iterator

from vertebra.anatomy.axes import on_axis
from vertebra.anatomy.graph import Graph, Node


def taps_in_padding(graph: Graph) -> Iterator[Node]:
    """The convolutions with a tap that lies in the padding at every position of the output.

    Such a weight is multiplied by zeros only, so its gradient is zero: a 3x3 kernel on a map of one
    pixel learns its centre alone. Transposed convolutions are passed over.
    """
    for node in graph.nodes:
        if node.operation == "aten.convolution" and not node.attributes.get("transposed", False):
            size = graph.values[node.operands["input"][0]].shape[2:]
            kernel = graph.values[node.operands["weight"][0]].shape[2:]
            given = (node.attributes[name] for name in ("stride", "padding", "dilation"))
            stride, padding, dilation = (
                [on_axis(values, axis) for axis in range(len(size))] for values in given
            )
            if any(map(any_tap_in_padding, size, kernel, stride, padding, dilation)):
                yield node


def any_tap_in_padding(size: int, kernel: int, stride: int, padding: int, dilation: int) -> bool:
    """Whether a tap of one axis meets no pixel at any ``position * stride - padding``."""
    positions = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    return any(
        not any(0 <= p * stride - padding + tap * dilation < size for p in range(positions))
        for tap in range(kernel)
    )
