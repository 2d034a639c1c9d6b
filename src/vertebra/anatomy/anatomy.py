"""One dissection: layers, stages and totals, each a pure function of the captured graph."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from vertebra.anatomy.capture import capture
from vertebra.anatomy.costs import VIEWS
from vertebra.anatomy.gradients import backward_products
from vertebra.anatomy.graph import Graph, ModuleCall, Node
from vertebra.anatomy.inputs import Shape, described, explained
from vertebra.anatomy.macs import check_convention, count, subtotals
from vertebra.anatomy.receptive import Fields, ReceptiveField, receptive_fields
from vertebra.nn import Backbone


@dataclass(frozen=True)
class Layer:
    """One module without children, or one operation that a larger module does itself.

    Shapes include the batch. ``params`` counts a parameter where it is used first. ``macs`` is for
    the whole batch. ``receptive_field`` is that of the output, None where it is no map.
    """

    name: str
    kind: str
    input_shape: Shape
    output_shape: Shape
    params: int
    macs: int
    receptive_field: ReceptiveField | None


@dataclass(frozen=True)
class Stage:
    """One part of the network, such as the stem or a stage, summed over its layers."""

    name: str
    output_shape: Shape
    params: int
    macs: int
    receptive_field: ReceptiveField | None


@dataclass(frozen=True)
class _Group:
    """The nodes of one layer, by their places in the graph."""

    name: str
    kind: str
    nodes: range
    call: ModuleCall | None


@dataclass(frozen=True)
class Anatomy:
    """What :func:`dissect` found.

    Attributes:
        input_shape: that of the first input: (batch, channels, height, width).
        graph: everything the forward did.
        params: number of parameters, trainable or not; buffers are not counted.
        convention: how ``macs`` were counted.
        parts: paths of the modules that :attr:`stages` lists.
    """

    input_shape: Shape
    graph: Graph
    params: int
    convention: str
    parts: tuple[tuple[str, str], ...]

    @functools.cached_property
    def macs(self) -> int:
        """Multiply-accumulates of one forward over the whole batch, by :attr:`convention`."""
        return sum(macs or 0 for macs in self._counts)

    @functools.cached_property
    def backward_macs(self) -> int:
        """Multiply-accumulates of the products of one backward, whatever the convention.

        Activations, norms and biases are not in it; see :mod:`.gradients`.
        """
        return sum(backward_products(self.graph))

    @functools.cached_property
    def subtotals(self) -> dict[str, int]:
        """MACs of "convolution", "linear", "matrix product" and "attention" (fused), forward."""
        return subtotals(self.graph)

    @functools.cached_property
    def partial(self) -> tuple[str, ...]:
        """Operations whose arithmetic is not known and so not in :attr:`macs`; empty when exact."""
        pairs = zip(self.graph.nodes, self._counts, strict=True)
        return tuple(sorted({node.operation for node, macs in pairs if macs is None}))

    @property
    def receptive_field(self) -> ReceptiveField | None:
        """Field of the last map (before global pooling or flattening); None where not known."""
        return self._fields.last_map

    @functools.cached_property
    def misaligned(self) -> tuple[str, ...]:
        """Layers at which branches meet that look at different middles of the image.

        Their common field is the union; see Araujo et al., 2019, "alignment".
        """
        return tuple(dict.fromkeys(_name(node) for node in self._fields.misaligned))

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of what is computed; see :meth:`Graph.fingerprint`."""
        return self.graph.fingerprint()

    @functools.cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer in the order in which it ran.

        Modules that compute nothing are left out, and views that a larger module takes itself.
        """
        first_use = self._first_uses()
        layers = ((self._layer(group, first_use), group) for group in self._groups())
        return tuple(layer for layer, group in layers if layer.params or not _is_view(group))

    @functools.cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Stem, stages and head of a backbone; the top-level children of any other module."""
        stages = []
        for name, path in self.parts:
            calls = [call for call in self.graph.calls if call.path == path and call.outputs]
            if not calls or calls[-1].start == calls[-1].end:
                continue
            layers = [layer for layer in self.layers if f"{layer.name}.".startswith(f"{path}.")]
            output = calls[-1].outputs[0]
            stages.append(
                Stage(
                    name=name,
                    output_shape=self.graph.values[output].shape,
                    params=sum(layer.params for layer in layers),
                    macs=sum(layer.macs for layer in layers),
                    receptive_field=self._fields.of_value.get(output),
                )
            )
        return tuple(stages)

    def to_dict(self) -> dict[str, Any]:
        """Plain data under the names of this class, as ``--json`` prints it."""
        return {
            "schema": "vertebra.anatomy/1",
            "input_shape": list(self.input_shape),
            "params": self.params,
            "macs": self.macs,
            "backward_macs": self.backward_macs,
            "subtotals": self.subtotals,
            "convention": self.convention,
            "partial": list(self.partial),
            "receptive_field": _field_dict(self.receptive_field),
            "misaligned": list(self.misaligned),
            "fingerprint": self.fingerprint,
            "stages": [_row_dict(stage) for stage in self.stages],
            "layers": [_row_dict(layer) for layer in self.layers],
        }

    @functools.cached_property
    def _counts(self) -> tuple[int | None, ...]:
        return tuple(count(self.graph, node, self.convention) for node in self.graph.nodes)

    @functools.cached_property
    def _fields(self) -> Fields:
        return receptive_fields(self.graph)

    def _groups(self) -> Iterator[_Group]:
        """Nodes layer by layer: those of one leaf call together, every other node by itself."""
        leaf_at: dict[int, ModuleCall] = {}
        for call in self.graph.calls:
            if call.leaf:
                leaf_at.update(dict.fromkeys(range(call.start, call.end), call))
        index = 0
        while index < len(self.graph.nodes):
            node = self.graph.nodes[index]
            if index in leaf_at:
                call = leaf_at[index]
                yield _Group(call.path, call.kind, range(index, call.end), call)
                index = call.end
            else:
                yield _Group(_name(node), node.name.strip("_"), range(index, index + 1), None)
                index += 1

    def _layer(self, group: _Group, first_use: dict[int, int]) -> Layer:
        values, call = self.graph.values, group.call
        nodes = [self.graph.nodes[index] for index in group.nodes]
        inputs = call.inputs if call else nodes[0].inputs
        output = call.outputs[0] if call and call.outputs else nodes[-1].outputs[0]
        parameters = {
            value
            for node in nodes
            for value in node.inputs
            if value in first_use and first_use[value] == id(node)
        }
        return Layer(
            name=group.name,
            kind=group.kind,
            input_shape=values[inputs[0]].shape if inputs else (),
            output_shape=values[output].shape,
            params=sum(math.prod(values[value].shape) for value in parameters),
            macs=sum(self._counts[index] or 0 for index in group.nodes),
            receptive_field=self._fields.of_value.get(output),
        )

    def _first_uses(self) -> dict[int, int]:
        """For each learnt parameter, the node that used it first."""
        first: dict[int, int] = {}
        for node in self.graph.nodes:
            for value in node.inputs:
                if self.graph.values[value].parameter is not None:
                    first.setdefault(value, id(node))
        return first


def _name(node: Node) -> str:
    """Of an operation that a larger module does itself."""
    return f"{node.module}.{node.name.strip('_')}".lstrip(".")


def _is_view(group: _Group) -> bool:
    return group.call is None and group.kind in VIEWS


def dissect(
    model: nn.Module,
    input_size: Sequence[int] | None = None,
    convention: str = "torchvision",
    batch: int = 1,
    *,
    inputs: Sequence[Tensor | Sequence[int]] | None = None,
) -> Anatomy:
    """Take a network apart without allocating its weights or running its arithmetic.

    Args:
        model: any module, on any device; on meta it needs no memory. It is left as it was.
        input_size: (channels, height, width) of one image; None asks the model for its own.
        convention: how MACs are counted: "torchvision", "fvcore" or "full"; see :mod:`.macs`.
        batch: images in the batch.
        inputs: for a model that takes something else: for each argument of its forward a tensor,
            of which only shape and type are read, or a shape (of floats), the batch included.
            ``input_size`` and ``batch`` then have nothing to say.

    Raises:
        VertebraError: no input size is known, the convention is unknown, or the model cannot run
            on such inputs.
    """
    check_convention(convention)
    given = described(model, input_size, batch, inputs)
    with explained(model, given):
        graph = capture(model, given)
    return Anatomy(
        input_shape=given[0][0] if given else (),
        graph=graph,
        params=sum(parameter.numel() for parameter in model.parameters()),
        convention=convention,
        parts=tuple(_parts(model)),
    )


def _parts(model: nn.Module) -> Iterator[tuple[str, str]]:
    """(name, path) of what counts as a stage."""
    if isinstance(model, Backbone):
        yield from model.parts()
    else:
        yield from ((name, name) for name, _ in model.named_children())


def _field_dict(field: ReceptiveField | None) -> dict[str, Any] | None:
    if field is None:
        return None
    if field.is_global:
        return {"is_global": True}
    return {
        "size": list(field.size),
        "stride": list(field.stride),
        "start": list(field.start),
        "is_global": False,
        "is_uniform": field.is_uniform,
    }


def _row_dict(row: Layer | Stage) -> dict[str, Any]:
    plain = {**vars(row), "receptive_field": _field_dict(row.receptive_field)}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}
