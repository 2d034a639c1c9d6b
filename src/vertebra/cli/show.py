"""``vertebra show``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vertebra.cli import output

if TYPE_CHECKING:
    from vertebra.anatomy import Anatomy


def command(
    target: Annotated[str, typer.Argument(help="A model's name or a run folder.")],
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Pixels of a side; the model's own if not given.")
    ] = None,
    json: output.Json = False,
) -> None:
    """Take a network apart, layer by layer: shape, parameters, MACs, receptive field."""
    from vertebra.report.words import count, shape

    body, name = _dissected(target, image_size)
    if json:
        output.document({**body.to_dict(), "model": name})
        return
    rows = [
        (
            layer.name,
            layer.kind,
            shape(layer.output_shape),
            count(layer.params) if layer.params else "",
            count(layer.macs) if layer.macs else "",
            str(layer.receptive_field or ""),
        )
        for layer in body.layers
    ]
    output.table(("layer", "kind", "output", "parameters", "MACs", "receptive field"), rows, text=3)
    output.line()
    stages = [
        (
            stage.name,
            shape(stage.output_shape),
            count(stage.params),
            count(stage.macs),
            str(stage.receptive_field or ""),
        )
        for stage in body.stages
    ]
    output.table(("stage", "output", "parameters", "MACs", "receptive field"), stages, text=2)
    output.line()
    _totals(name, body)


def _totals(name: str, body: Anatomy) -> None:
    from vertebra.report.words import count, shape, si

    field = body.receptive_field
    output.line(f"{name} on {shape(body.input_shape)}")
    output.line(f"  parameters       {count(body.params)}")
    convention = "convolutions and matrix products, no bias, no norm"
    output.line(f"  MACs             {si(body.macs)} ({body.convention}: {convention})")
    output.line(f"  receptive field  {field or 'not known'} before the head's pooling")
    if body.partial:
        output.line(f"  partial: not counted are {', '.join(body.partial)}")


def _dissected(target: str, image_size: int | None) -> tuple[Anatomy, str]:
    """The anatomy of a model by name, or of a run's network at the run's own size."""
    import torch

    from vertebra.anatomy import dissect
    from vertebra.runs import Run
    from vertebra.zoo import create
    from vertebra.zoo.of_recipe import build

    with torch.device("meta"):
        net = build(Run.open(target).recipe) if Path(target).is_dir() else create(target)
        size = image_size or net.input_size[1]
        return dissect(net, (net.input_size[0], size, size)), net.name
