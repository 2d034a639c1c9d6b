"""The layers of a network as rows that unfold: part, block, layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vertebra.anatomy.anatomy import Anatomy
from vertebra.anatomy.graph import ModuleCall
from vertebra.anatomy.layers import Layer
from vertebra.anatomy.receptive import ReceptiveField
from vertebra.report import Cell, Row, extents, si

COLUMNS = ("output", "field", "params", "MACs")
# A block of more layers is shown as its own blocks: DenseNet's stages are one block each.
_LARGEST = 40


@dataclass(frozen=True)
class _Unit:
    """Layers under one path, in the order in which they ran; a single one stands for itself."""

    path: str
    layers: Sequence[Layer]
    single: bool


def tree_of(body: Anatomy) -> list[Row]:
    """Rows of all layers, three levels at most."""
    return _Tree(body).rows()


class _Tree:
    def __init__(self, body: Anatomy) -> None:
        self.body = body
        self.calls: dict[str, ModuleCall] = {
            call.path: call for call in body.graph.calls if call.outputs
        }
        self.fields = body.fields
        self.names = {path: name for name, path in body.parts}

    def rows(self) -> list[Row]:
        """One for each part of the network, in the order in which they ran."""
        rows = []
        for unit in self._parts():
            if unit.single or unit.layers[0].name == unit.path:
                rows += [self._leaf(layer, "") for layer in unit.layers]
                continue
            name = self.names[unit.path]
            inner = [self._row(part) for part in _units(unit.path, unit.layers)]
            rows.append(self._whole(unit, name, "" if name == unit.path else unit.path, inner))
        return rows

    def _parts(self) -> list[_Unit]:
        """Layers by the part that they belong to; what belongs to none stands for itself."""
        grouped: dict[str, list[Layer]] = {}
        units: list[_Unit] = []
        for layer in self.body.layers:
            owners = [path for path in self.names if f"{layer.name}.".startswith(f"{path}.")]
            if not owners:
                units.append(_Unit(layer.name, [layer], single=True))
                continue
            path = max(owners, key=len)
            if path not in grouped:
                grouped[path] = []
                units.append(_Unit(path, grouped[path], single=False))
            grouped[path].append(layer)
        return units

    def _row(self, unit: _Unit) -> Row:
        if unit.single:
            prefix = unit.path.rpartition(".")[0]
            return self._leaf(unit.layers[0], f"{prefix}." if prefix else "")
        inner = [self._leaf(layer, f"{unit.path}.") for layer in unit.layers]
        kind = self.calls[unit.path].kind if unit.path in self.calls else ""
        return self._whole(unit, unit.path, kind, inner)

    def _whole(self, unit: _Unit, name: str, kind: str, inner: Sequence[Row]) -> Row:
        last = unit.layers[-1]
        output, field = last.output_shape, last.receptive_field
        if unit.path in self.calls:
            value = self.calls[unit.path].outputs[0]
            output, field = self.body.graph.values[value].shape, self.fields.get(value)
        params = sum(layer.params for layer in unit.layers)
        macs = sum(layer.macs for layer in unit.layers)
        return Row(name, kind, self._cells(output, field, params, macs), inner)

    def _leaf(self, layer: Layer, prefix: str) -> Row:
        return Row(
            name=layer.name.removeprefix(prefix),
            kind=layer.kind if layer.name.rpartition(".")[2] != layer.kind else "",
            cells=self._cells(layer.output_shape, layer.receptive_field, layer.params, layer.macs),
            prefix=prefix,
            quiet=not (layer.params or layer.macs),
        )

    def _cells(
        self, output: tuple[int, ...], field: ReceptiveField | None, params: int, macs: int
    ) -> tuple[Cell, ...]:
        return (
            Cell(extents(self.body.per_image(output))),
            Cell(str(field or "")),
            _share(params, self.body.params),
            _share(macs, self.body.macs),
        )


def _share(number: int, total: int) -> Cell:
    return Cell(si(number), number / total) if number else Cell()


def _units(path: str, layers: Sequence[Layer]) -> Iterator[_Unit]:
    """The blocks one step below a path, large ones replaced by theirs."""
    for child, inner in _children(path, layers):
        if len(inner) == 1 or inner[0].name == child:
            yield from (_Unit(layer.name, [layer], single=True) for layer in inner)
        elif len(inner) > _LARGEST:
            yield from _units(child, inner)
        else:
            yield _Unit(child, inner, single=False)


def _children(path: str, layers: Sequence[Layer]) -> Iterator[tuple[str, list[Layer]]]:
    """Layers by the next step of their path, steps in the order in which they first ran."""
    found: dict[str, list[Layer]] = {}
    for layer in layers:
        step = layer.name.removeprefix(f"{path}.").partition(".")[0]
        found.setdefault(f"{path}.{step}", []).append(layer)
    yield from found.items()
