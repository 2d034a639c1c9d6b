"""``vertebra show``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vertebra.cli import network_page, network_text, output
from vertebra.cli.findings import Findings, Wanted, look_into
from vertebra.cli.targets import Batch, Convention, ImageSize, Inputs, Target


def command(
    target: Target,
    image_size: ImageSize = None,
    inputs: Inputs = None,
    layers: Annotated[bool, typer.Option("--layers", help="Every layer, too.")] = False,
    depth: Annotated[
        int | None, typer.Option(min=1, help="Modules down to this depth, too.")
    ] = None,
    convention: Convention = "torchvision",
    batch: Batch = None,
    precision: Annotated[
        str | None, typer.Option(help="What training needs in fp32, bf16 or fp16.")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="What training needs with sgd, momentum, adamw, lion, ...")
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="The largest batch that trains in this much, as 16GiB.")
    ] = None,
    roofline: Annotated[
        bool,
        typer.Option("--roofline", help="Measure this machine: which layers wait for memory?"),
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="Write the network on one page, to open in a browser.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="With --html: your photograph in place of a sample.")
    ] = None,
    convolution: Annotated[
        str | None,
        typer.Option(help="With --html: work one convolution, as stem.0.conv, through."),
    ] = None,
    effective: Annotated[
        bool, typer.Option("--effective", help="With --html: the effective receptive field.")
    ] = False,
    json: output.Json = False,
) -> None:
    """Take a network apart: shapes, parameters, MACs, receptive fields, memory.

    Any network: one of the zoo, "timm/NAME", a run, or package.module:factory of your own.
    """
    wanted = Wanted(target, image_size, inputs, convention, batch, precision, optimizer, memory)
    extras = network_page.Extras(image, convolution, effective)
    wanted.check()
    network_page.check(html, extras)
    with output.answers_only():
        found = look_into(wanted, roofline)
        if html:
            network_page.write(html, target, found, extras)
    if json:
        output.document(found.to_dict())
        return
    _print(found, layers, depth)
    if html:
        output.line(str(html))


def _print(found: Findings, layers: bool, depth: int | None) -> None:
    """The tables that were asked for, then the totals."""
    body = found.body
    if layers:
        network_text.table("layer", body.layers, body, found.bounds)
    if depth:
        network_text.table("module", body.at_depth(depth), body)
    network_text.table("stage", body.stages, body)
    network_text.totals(found.name, body)
    if found.memory:
        network_text.needs(found.memory, found.limit, found.largest)
    if found.bounds and found.roof:
        network_text.under_the_roof(found.name, found.bounds, found.roof)
