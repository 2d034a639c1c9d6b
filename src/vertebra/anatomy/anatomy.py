"""One dissection: layers, stages and totals, each a pure function of the captured graph."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from vertebra.anatomy.capture import capture
from vertebra.anatomy.gradients import backward_products
from vertebra.anatomy.graph import Graph, Node
from vertebra.anatomy.inputs import Shape, described, explained
from vertebra.anatomy.layers import Layer, Part, Rows, operation_name
from vertebra.anatomy.macs import check_convention, count, subtotals
from vertebra.anatomy.receptive import Fields, ReceptiveField, receptive_fields
from vertebra.nn import Backbone


@dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        size = "x".join(str(extent) for extent in self.input_shape)
        figures = f"{self.params} parameters, {self.macs} MACs"
        return f"<Anatomy of {len(self.layers)} layers on {size}: {figures}>"

    @functools.cached_property
    def macs(self) -> int:
        """Multiply-accumulates of one forward over the whole batch, by :attr:`convention`."""
        return sum(macs or 0 for macs in self._counts)

    @functools.cached_property
    def backward_macs(self) -> int | None:
        """Multiply-accumulates of the products of one backward, whatever the convention.

        Activations, norms and biases are not in it; see :mod:`.gradients`. None where gradients
        cannot be followed, and where an operation is not known (:attr:`partial`).
        """
        products = None if self._unknown_products else backward_products(self.graph)
        return None if products is None else sum(products)

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

    @property
    def unknown_field(self) -> str | None:
        """Why :attr:`receptive_field` is not known; None where it is."""
        if self.receptive_field is not None:
            return None
        if len(self.input_shape) != 4:
            return "told of images (batch, channels, height, width) only"
        lost = self._fields.lost
        if lost is None:
            return "told of maps only, and no output is made of one"
        return f"not followed beyond {self._rows.layer_of(lost)}"

    @functools.cached_property
    def misaligned(self) -> tuple[str, ...]:
        """Layers at which branches meet that look at different middles of the image.

        Their common field is the union; see Araujo et al., 2019, "alignment".
        """
        return tuple(dict.fromkeys(operation_name(node) for node in self._fields.misaligned))

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of what is computed; see :meth:`Graph.fingerprint`."""
        return self.graph.fingerprint()

    @functools.cached_property
    def bytes_moved(self) -> int:
        """What all operations read and write, each from and to memory; see :class:`Layer`."""
        return self._rows.moved(range(len(self.graph.nodes)))

    @functools.cached_property
    def dtype(self) -> str:
        """The type of most of its floating-point parameters, else of its first input: "float32"."""
        numbers: Counter[str] = Counter()
        for value in self.graph.values:
            if value.parameter is not None and "float" in value.dtype:
                numbers[value.dtype] += math.prod(value.shape)
        inputs = [self.graph.values[value].dtype for value in self.graph.inputs]
        return next((kind for kind, _ in numbers.most_common(1)), (inputs or ["float32"])[0])

    @property
    def intensity(self) -> float:
        """MACs for each byte moved."""
        return self.macs / self.bytes_moved if self.bytes_moved else 0.0

    @functools.cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer in the order in which it ran.

        Modules that compute nothing are left out, and views that a larger module takes itself.
        """
        return tuple(self._rows.layers())

    @functools.cached_property
    def stages(self) -> tuple[Part, ...]:
        """Stem, stages and head of a backbone; of another module what lies at its top.

        That is its children in the order in which they ran, and what it does itself. A list of
        blocks counts as one part, although PyTorch never calls it.
        """
        named = (self._rows.part(name, path) for name, path in self.parts)
        parts = tuple(part for part in named if part is not None)
        if parts and sum(part.bytes_moved for part in parts) == self.bytes_moved:
            return parts
        depth = max((path.count(".") for _, path in self.parts), default=0)
        return self.at_depth(depth + 1)

    def operations(self) -> Iterator[tuple[Node, int, int]]:
        """Each operation in order, its MACs (0 where not known) and the bytes that it moves."""
        for index, (node, macs) in enumerate(zip(self.graph.nodes, self._counts, strict=True)):
            yield node, macs or 0, self._rows.moved((index,))

    def per_image(self, shape: Shape) -> Shape:
        """A shape without its batch; whole where it begins with something else, such as heads."""
        batch = self.input_shape[:1]
        return shape[1:] if shape[:1] == batch else shape

    def at_depth(self, depth: int) -> tuple[Part, ...]:
        """Modules down to ``depth`` names in their path: 1 for the top-level children."""
        return tuple(self._rows.at_depth(depth))

    def to_dict(self) -> dict[str, Any]:
        """Plain data under the names of this class, as ``--json`` prints it."""
        return {
            "schema": "vertebra.anatomy/1",
            "input_shape": list(self.input_shape),
            "params": self.params,
            "macs": self.macs,
            "backward_macs": self.backward_macs,
            "subtotals": self.subtotals,
            "bytes_moved": self.bytes_moved,
            "dtype": self.dtype,
            "convention": self.convention,
            "partial": list(self.partial),
            "receptive_field": _field_dict(self.receptive_field),
            "unknown_field": self.unknown_field,
            "misaligned": list(self.misaligned),
            "fingerprint": self.fingerprint,
            "stages": [_row_dict(stage) for stage in self.stages],
            "layers": [_row_dict(layer) for layer in self.layers],
        }

    @property
    def _unknown_products(self) -> bool:
        return any(count(self.graph, node) is None for node in self.graph.nodes)

    @property
    def fields(self) -> Mapping[int, ReceptiveField | None]:
        """The receptive field of each value of the graph that the image has a part in."""
        return self._fields.of_value

    @functools.cached_property
    def _counts(self) -> tuple[int | None, ...]:
        return tuple(count(self.graph, node, self.convention) for node in self.graph.nodes)

    @functools.cached_property
    def _fields(self) -> Fields:
        return receptive_fields(self.graph)

    @functools.cached_property
    def _rows(self) -> Rows:
        return Rows(self.graph, self._counts, self.fields)


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


def _row_dict(row: Layer | Part) -> dict[str, Any]:
    plain = {**vars(row), "receptive_field": _field_dict(row.receptive_field)}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}
