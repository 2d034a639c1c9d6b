"""One dissection: layers, stages and totals, each a pure function of the captured graph."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vertebra.anatomy.capture import capture
from vertebra.anatomy.graph import Graph, ModuleCall, Node
from vertebra.anatomy.macs import check_convention, count
from vertebra.anatomy.receptive import Fields, ReceptiveField, receptive_fields
from vertebra.core import VertebraError
from vertebra.nn import Backbone

Shape = tuple[int, ...]


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
class Anatomy:
    """What :func:`dissect` found.

    Attributes:
        input_shape: (batch, channels, height, width).
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
        """Multiply-accumulates of one forward over the whole batch."""
        return sum(count(self.graph, node) or 0 for node in self.graph.nodes)

    @functools.cached_property
    def partial(self) -> tuple[str, ...]:
        """Operations whose arithmetic is not known and so not in :attr:`macs`; empty when exact."""
        uncounted = {n.operation for n in self.graph.nodes if count(self.graph, n) is None}
        return tuple(sorted(uncounted))

    @property
    def receptive_field(self) -> ReceptiveField | None:
        """Field of the last map (before global pooling or flattening); None where not known."""
        return self._fields.last_map

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of what is computed; see :meth:`Graph.fingerprint`."""
        return self.graph.fingerprint()

    @functools.cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer in the order in which it ran; modules that compute nothing are left out."""
        first_use = self._first_uses()
        return tuple(self._layer(group, first_use) for group in self._groups())

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
            "convention": self.convention,
            "partial": list(self.partial),
            "receptive_field": _field_dict(self.receptive_field),
            "fingerprint": self.fingerprint,
            "stages": [_row_dict(stage) for stage in self.stages],
            "layers": [_row_dict(layer) for layer in self.layers],
        }

    @functools.cached_property
    def _fields(self) -> Fields:
        return receptive_fields(self.graph)

    def _groups(self) -> Iterator[tuple[str, str, list[Node], ModuleCall | None]]:
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
                yield call.path, call.kind, list(self.graph.nodes[index : call.end]), call
                index = call.end
            else:
                kind = node.operation.removeprefix("aten.").strip("_")
                yield f"{node.module}.{kind}".lstrip("."), kind, [node], None
                index += 1

    def _layer(
        self,
        group: tuple[str, str, list[Node], ModuleCall | None],
        first_use: dict[int, int],
    ) -> Layer:
        name, kind, nodes, call = group
        values = self.graph.values
        inputs = call.inputs if call else nodes[0].inputs
        output = call.outputs[0] if call and call.outputs else nodes[-1].outputs[0]
        parameters = {
            value
            for node in nodes
            for value in node.inputs
            if value in first_use and first_use[value] == id(node)
        }
        return Layer(
            name=name,
            kind=kind,
            input_shape=values[inputs[0]].shape if inputs else (),
            output_shape=values[output].shape,
            params=sum(math.prod(values[value].shape) for value in parameters),
            macs=sum(count(self.graph, node) or 0 for node in nodes),
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


def dissect(
    model: nn.Module,
    input_size: Sequence[int] | None = None,
    convention: str = "torchvision",
    batch: int = 1,
) -> Anatomy:
    """Take a network apart without allocating its weights or running its arithmetic.

    Args:
        model: any module, on any device; on meta it needs no memory. It is left as it was.
        input_size: (channels, height, width) of one image; None asks the model for its own.
        convention: how MACs are counted: "torchvision".
        batch: images in the batch.

    Raises:
        VertebraError: no input size is known, the convention is unknown, or the model cannot run
            on such an input.
    """
    check_convention(convention)
    shape = (batch, *_input_size(model, input_size))
    graph = _captured(model, shape)
    return Anatomy(
        input_shape=shape,
        graph=graph,
        params=sum(parameter.numel() for parameter in model.parameters()),
        convention=convention,
        parts=tuple(_parts(model)),
    )


def _input_size(model: nn.Module, given: Sequence[int] | None) -> Shape:
    size = given if given is not None else getattr(model, "input_size", None)
    if size is None:
        raise VertebraError(f"{type(model).__name__} does not say its input size; give input_size")
    try:
        numbers = tuple(int(extent) for extent in size)
    except (TypeError, ValueError):
        raise VertebraError(f"input_size should be like (3, 224, 224), got {size!r}") from None
    if not numbers or min(numbers) < 1:
        raise VertebraError(f"input_size should be like (3, 224, 224), got {size!r}")
    return numbers


def _captured(model: nn.Module, shape: Shape) -> Graph:
    try:
        return capture(model, [(shape, torch.float32)])
    except VertebraError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        text = f"{type(model).__name__} cannot run on an input of shape {shape}: {reason}"
        raise VertebraError(text) from error


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
    }


def _row_dict(row: Layer | Stage) -> dict[str, Any]:
    plain = {**vars(row), "receptive_field": _field_dict(row.receptive_field)}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}
