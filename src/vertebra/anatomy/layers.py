"""The rows of a dissection: layers, and the larger modules that they make up."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vertebra.anatomy.costs import COPIES, LOOKUPS, VIEWS
from vertebra.anatomy.graph import Graph, ModuleCall, Node
from vertebra.anatomy.inputs import Shape
from vertebra.anatomy.receptive import ReceptiveField


@dataclass(frozen=True)
class Part:
    """One part of the network, such as the stem, a stage or a block, summed over all it does.

    The shape includes the batch. ``params`` counts a parameter where it is used first. ``macs`` is
    for the whole batch. ``bytes_moved`` is what its operations read and write if each takes its
    operands from memory and puts its result there. ``receptive_field`` is that of the output, None
    where it is not known or the image has no part in it.
    """

    name: str
    output_shape: Shape
    params: int
    macs: int
    bytes_moved: int
    receptive_field: ReceptiveField | None

    @property
    def intensity(self) -> float:
        """MACs for each byte moved."""
        return self.macs / self.bytes_moved if self.bytes_moved else 0.0


@dataclass(frozen=True)
class Layer(Part):
    """One module without children, or one operation that a larger module does itself."""

    kind: str
    input_shape: Shape


@dataclass(frozen=True)
class _Group:
    """The nodes of one layer, by their places in the graph."""

    name: str
    kind: str
    nodes: range
    call: ModuleCall | None
    is_view: bool


def operation_name(node: Node) -> str:
    """Of an operation that a larger module does itself, after that module's path."""
    return f"{node.module}.{node.name.strip('_')}".lstrip(".")


class Rows:
    """Sums over the nodes of a graph, given each node's MACs and each value's field."""

    def __init__(
        self,
        graph: Graph,
        macs: Sequence[int | None],
        fields: Mapping[int, ReceptiveField | None],
    ) -> None:
        self._graph = graph
        self._macs = macs
        self._fields = fields

    def layers(self) -> Iterator[Layer]:
        """Every layer in the order in which it ran.

        Modules that compute nothing are left out, and views that a larger module takes itself.
        """
        for group in self._groups():
            layer = self._layer(group)
            if layer.params or not group.is_view:
                yield layer

    def part(self, name: str, path: str) -> Part | None:
        """All runs of the module at ``path``; None where it did nothing."""
        calls = [call for call in self._calls.get(path, ()) if call.outputs]
        nodes = {index for call in calls for index in range(call.start, call.end)}
        if not nodes:
            return None
        return self._part(name, sorted(nodes), calls[-1].outputs[0])

    def at_depth(self, depth: int) -> Iterator[Part]:
        """Modules down to ``depth`` names in their path, and what larger ones do themselves."""
        # An operation of a larger module may be called as a child of that module is, and as
        # another one that it does elsewhere: each is by itself.
        seen: dict[tuple[str, int | None], list[_Group]] = {}
        for group in self._groups():
            path = ".".join(group.name.split(".")[:depth])
            alone = group.call is None and path == group.name
            seen.setdefault((path, group.nodes[0] if alone else None), []).append(group)
        for (path, place), groups in seen.items():
            whole = self.part(path, path) if place is None else None
            nodes = [index for group in groups for index in group.nodes]
            if whole is not None:
                yield whole
            elif not all(group.is_view for group in groups):
                yield self._part(path, nodes, self._graph.nodes[nodes[-1]].outputs[0])

    def layer_of(self, node: Node) -> str:
        """The layer that does a node, as :meth:`layers` calls it, with its kind."""
        nodes = self._graph.nodes
        group = next(g for g in self._groups() if any(nodes[index] is node for index in g.nodes))
        return f"{group.name or 'itself'} ({group.kind})" if group.call else group.name

    def moved(self, nodes: Iterable[int]) -> int:
        """Bytes that the nodes read and write."""
        return sum(self._moved[index] for index in nodes)

    def _part(self, name: str, nodes: Sequence[int], output: int) -> Part:
        return Part(
            name=name,
            output_shape=self._graph.values[output].shape,
            params=self._params(nodes),
            macs=sum(self._macs[index] or 0 for index in nodes),
            bytes_moved=self.moved(nodes),
            receptive_field=self._fields.get(output),
        )

    def _layer(self, group: _Group) -> Layer:
        values, call = self._graph.values, group.call
        first, last = self._graph.nodes[group.nodes[0]], self._graph.nodes[group.nodes[-1]]
        inputs = call.inputs if call else first.inputs
        output = call.outputs[0] if call and call.outputs else last.outputs[0]
        return Layer(
            name=group.name,
            kind=group.kind,
            input_shape=values[inputs[0]].shape if inputs else (),
            output_shape=values[output].shape,
            params=self._params(group.nodes),
            macs=sum(self._macs[index] or 0 for index in group.nodes),
            bytes_moved=self.moved(group.nodes),
            receptive_field=self._fields.get(output),
        )

    def _params(self, nodes: Iterable[int]) -> int:
        """Numbers of the parameters that these nodes are the first to use."""
        values = self._graph.values
        used = {v for i in nodes for v in self._graph.nodes[i].inputs if self._first.get(v) == i}
        return sum(math.prod(values[value].shape) for value in used)

    def _groups(self) -> Iterator[_Group]:
        """Nodes layer by layer: those of one leaf call together, every other node by itself."""
        leaf_at: dict[int, ModuleCall] = {}
        for call in self._graph.calls:
            if call.leaf:
                leaf_at.update(dict.fromkeys(range(call.start, call.end), call))
        index = 0
        while index < len(self._graph.nodes):
            node = self._graph.nodes[index]
            if index in leaf_at:
                call = leaf_at[index]
                yield _Group(call.path, call.kind, range(index, call.end), call, False)
                index = call.end
            else:
                one = range(index, index + 1)
                kind, is_view = node.name.strip("_"), node.name in VIEWS
                yield _Group(operation_name(node), kind, one, None, is_view)
                index += 1

    @functools.cached_property
    def _calls(self) -> dict[str, list[ModuleCall]]:
        calls: dict[str, list[ModuleCall]] = {}
        for call in self._graph.calls:
            calls.setdefault(call.path, []).append(call)
        return calls

    @functools.cached_property
    def _first(self) -> dict[int, int]:
        """For each parameter the node that uses it first."""
        first: dict[int, int] = {}
        for index, node in enumerate(self._graph.nodes):
            for value in node.inputs:
                if self._graph.values[value].parameter is not None:
                    first.setdefault(value, index)
        return first

    @functools.cached_property
    def _moved(self) -> list[int]:
        return [self._moved_by(node) for node in self._graph.nodes]

    def _moved_by(self, node: Node) -> int:
        if node.name in VIEWS and node.name not in COPIES:
            return 0
        values = self._graph.values
        if node.name in LOOKUPS:
            # Of the table only what is looked up: as much as comes out.
            read = [v for v in dict.fromkeys(node.inputs) if v not in node.operands[_table(node)]]
            touched = [values[v] for v in (*read, *node.outputs, node.outputs[0])]
        else:
            touched = [values[v] for v in (*dict.fromkeys(node.inputs), *node.outputs)]
        return sum(math.prod(value.shape) * value.itemsize for value in touched)


def _table(node: Node) -> str:
    return "weight" if node.name == "embedding" else "self"
