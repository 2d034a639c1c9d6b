"""``vertebra show``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vertebra.cli import network_page, output
from vertebra.cli.targets import Batch, Convention, ImageSize, Inputs, Subject, Target, opened

if TYPE_CHECKING:
    from vertebra.anatomy import Anatomy, Bounds, Layer, Memory, Part


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
        typer.Option(help="With --html: work through one convolution, as stem.0, on the image."),
    ] = None,
    effective: Annotated[
        bool, typer.Option("--effective", help="With --html: the effective receptive field.")
    ] = False,
    json: output.Json = False,
) -> None:
    """Take a network apart: shapes, parameters, MACs, receptive fields, memory.

    Any network: one of the zoo, "timm/NAME", a run, or package.module:factory of your own.
    """
    from vertebra.anatomy import bounds, dissect
    from vertebra.core import VertebraError
    from vertebra.machine import measure_roofline

    if not html and (image or convolution or effective):
        raise VertebraError("--image, --convolution and --effective belong to --html page.html")
    if html:
        network_page.check(html)
    subject = opened(target, image_size, inputs, batch or 1)
    body = dissect(subject.net, convention=convention, inputs=subject.inputs)
    needs, largest = _memory(subject, batch, precision, optimizer, memory)
    roof = measure_roofline() if roofline else None
    under = bounds(body, roof) if roof else None
    if json:
        document = {**body.to_dict(), "model": subject.name}
        if needs:
            document["memory"] = {**needs.to_dict(), "largest_batch": largest}
        if roof and under:
            document["roofline"] = {**vars(roof), **under.to_dict()}
    if html:
        network_page.write(html, target, subject, body, needs, image, convolution, effective)
    if json:
        output.document(document)
        return
    if layers:
        _table("layer", body.layers, body, under)
    if depth:
        _table("module", body.at_depth(depth), body, None)
    _table("stage", body.stages, body, None)
    _totals(subject.name, body)
    if needs:
        _needs(needs, memory, largest)
    if under:
        _under_the_roof(subject.name, under, roof.ridge() if roof else 0)
    if html:
        output.line(str(html))


def _memory(
    subject: Subject,
    batch: int | None,
    precision: str | None,
    optimizer: str | None,
    limit: str | None,
) -> tuple[Memory | None, int | None]:
    """What training needs, if anything about it was asked; the largest batch, if a limit was."""
    import torch

    from vertebra.anatomy import largest_batch, memory_of
    from vertebra.core import VertebraError, parse_bytes

    if not (batch or precision or optimizer or limit):
        return None, None
    chosen = (precision or "fp32", optimizer or "adamw")
    try:
        needs = memory_of(subject.net, None, 1, *chosen, inputs=subject.inputs)
    except VertebraError as error:
        # Batch norm does not train on a single value; asked for a batch, the user shall know.
        if batch or "more than 1 value per channel" not in str(error):
            raise
        two = [torch.cat([one, one]) for one in subject.inputs]
        needs = memory_of(subject.net, None, 1, *chosen, inputs=two)
    if not limit:
        return needs, None
    if len(subject.inputs) > 1:
        raise VertebraError("--memory finds the batch of a network with one input")
    size = tuple(subject.inputs[0].shape[1:])
    return needs, largest_batch(
        subject.net, parse_bytes(limit), size, *chosen, dtype=subject.inputs[0].dtype
    )


def _table(title: str, rows: Sequence[Layer | Part], body: Anatomy, under: Bounds | None) -> None:
    """Layers, modules or stages with their shares of the whole."""
    from vertebra.report.words import count, shape

    kinds = title == "layer"
    columns = [title, *(["kind"] if kinds else []), "output", "parameters", "%", "MACs", "%"]
    waits = [bound.by for bound in under.layers] if under else [""] * len(rows)
    output.table(
        [*columns, "MACs/B", "field", *(["waits for"] if under else [])],
        [
            (
                row.name,
                *([getattr(row, "kind", "")] if kinds else []),
                shape(row.output_shape),
                count(row.params) if row.params else "",
                _share(row.params, body.params),
                count(row.macs) if row.macs else "",
                _share(row.macs, body.macs),
                f"{row.intensity:.1f}" if row.macs else "",
                str(row.receptive_field or ""),
                *([wait] if under else []),
            )
            for row, wait in zip(rows, waits, strict=True)
        ],
        text=3 if kinds else 2,
    )
    output.line()


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if part and whole else ""


def _totals(name: str, body: Anatomy) -> None:
    from vertebra.anatomy import CONVENTIONS
    from vertebra.report.words import count, shape, si

    field, batch = body.receptive_field, body.input_shape[0] if body.input_shape else 1
    images = f", batch {batch}" if batch > 1 else ""
    output.line(f"{name} on {shape(body.input_shape)}{images}")
    output.line(f"  parameters       {count(body.params)}")
    words = f"{body.convention}: {CONVENTIONS[body.convention]}"
    output.line(f"  MACs             {si(body.macs)} ({words})")
    backward = "not known" if body.backward_macs is None else f"{si(body.backward_macs)} MACs more"
    output.line(f"  backward         {backward}, in products")
    output.line(f"  MACs per byte    {body.intensity:.1f} in float32")
    output.line(f"  receptive field  {field or 'not known'} before the head's pooling")
    if body.misaligned:
        first, *rest = body.misaligned
        more = f" and at {len(rest)} more" if rest else ""
        output.line(f"  misaligned       branches look at different middles at {first}{more}")
    if body.partial:
        output.line(f"  partial: not counted are {', '.join(body.partial)}")


def _needs(needs: Memory, limit: str | None, largest: int | None) -> None:
    from vertebra.report.words import size

    output.line()
    output.line(f"training at batch {needs.batch}, {needs.precision}, {needs.optimizer}")
    rows: list[tuple[str, int, str]] = [
        ("parameters", needs.parameters + needs.buffers, ""),
        ("gradients", needs.gradients, ""),
        ("optimiser state", needs.optimizer_state, ""),
        ("inputs", needs.inputs, ""),
        ("activations", needs.activations, "kept for the backward pass"),
        ("peak of a step", needs.training_peak, "without the kernels' own scratch"),
        ("peak of inference", needs.inference_peak, ""),
    ]
    for what, number, note in rows:
        output.line(f"  {what:<17} {size(number):>10}  {note}".rstrip())
    if needs.partial:
        output.line(f"  partial: more is kept by {', '.join(needs.partial)}")
    if largest is not None:
        fits = f"{largest} images" if largest else "none: not even one image fits"
        output.line(f"  largest batch in {limit}: {fits}")


def _under_the_roof(name: str, under: Bounds, ridge: float) -> None:
    waiting = sum(layer.by == "memory" for layer in under.layers)
    output.line()
    output.line(f"on this machine, float32, layer by layer (it is level at {ridge:.1f} MACs/byte)")
    output.line(f"  one forward      {1e3 * under.seconds:.1f} ms of {name}, all through memory")
    output.line(
        f"  waiting          {waiting} of {len(under.layers)} layers for memory, "
        f"{100 * under.memory_share:.0f} % of that time"
    )
