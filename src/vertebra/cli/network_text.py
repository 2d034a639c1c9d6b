"""A network in a terminal: tables of its parts, its totals, what it needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vertebra.cli import output

if TYPE_CHECKING:
    from vertebra.anatomy import Anatomy, Bounds, Layer, Memory, Part
    from vertebra.machine import Roofline


def table(
    title: str, rows: Sequence[Layer | Part], body: Anatomy, under: Bounds | None = None
) -> None:
    """Layers, modules or stages with their shares of the whole."""
    from vertebra.report import count, extents

    kinds = title == "layer"
    columns = [title, *(["kind"] if kinds else []), "output", "parameters", "%", "MACs", "%"]
    waits = [bound.by for bound in under.layers] if under else [""] * len(rows)
    output.table(
        [*columns, "MACs/B", "field", *(["waits for"] if under else [])],
        [
            (
                row.name or "itself",  # a bare layer
                *([getattr(row, "kind", "")] if kinds else []),
                extents(body.per_image(row.output_shape)),
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


def totals(name: str, body: Anatomy) -> None:
    """The figures of the whole network."""
    from vertebra.anatomy import CONVENTIONS
    from vertebra.report import count, si

    counts = f"{body.convention}: {CONVENTIONS[body.convention]}"
    least = "at least " if body.partial else ""
    backward = "not known" if body.backward_macs is None else f"{si(body.backward_macs)} MACs more"
    several = ", in the first input" if len(body.graph.inputs) > 1 else ""
    field = f"{body.receptive_field} px, of the last map{several}"
    if body.receptive_field is None:
        field = f"not known: {body.unknown_field}"
    elif body.receptive_field.is_global:
        field = f"global, of the last map{several}"
    output.line(f"{name} on {fed(body)}")
    idle = body.params - sum(layer.params for layer in body.layers)
    unused = f", {count(idle)} of them not used in this forward" if idle else ""
    output.line(f"  parameters       {count(body.params)}{unused}")
    output.line(f"  MACs             {least}{si(body.macs)} ({counts})")
    if body.partial:
        output.line(f"  not counted      {', '.join(body.partial)}")
    output.line(f"  backward         {backward}, in products")
    output.line(f"  MACs per byte    {body.intensity:.1f} in {body.dtype}")
    output.line(f"  receptive field  {field}")
    if body.misaligned:
        first, *rest = body.misaligned
        more = f" and at {len(rest)} more" if rest else ""
        output.line(f"  misaligned       branches look at different middles at {first}{more}")


def fed(body: Anatomy) -> str:
    """What it was fed: "3 x 224 x 224, batch 8"."""
    from vertebra.report import extents

    values = (body.graph.values[value] for value in body.graph.inputs)
    every = " and ".join(
        extents(body.per_image(value.shape))
        + (f" {value.dtype}" if "float" not in value.dtype else "")
        for value in values
    )
    batch = body.input_shape[0] if body.input_shape else 1
    return f"{every}, batch {batch}" if batch > 1 else every


def needs(memory: Memory, limit: str | None, largest: int | None) -> None:
    """What a training step and an inference hold."""
    from vertebra.report import size

    output.line()
    output.line(f"training at batch {memory.batch}, {memory.precision}, {memory.optimizer}")
    rows: list[tuple[str, int, str]] = [
        ("parameters", memory.parameters + memory.buffers, "and buffers"),
        ("gradients", memory.gradients, "" if memory.gradients else "nothing in it learns"),
        ("optimiser state", memory.optimizer_state, ""),
        ("inputs", memory.inputs, ""),
        ("activations", memory.activations, "kept for the backward pass"),
        ("peak of a step", memory.training_peak, "without the kernels' own scratch"),
        ("peak of inference", memory.inference_peak, ""),
    ]
    for what, number, note in rows:
        output.line(f"  {what:<17} {size(number):>10}  {note}".rstrip())
    if memory.partial:
        named = ", ".join(memory.partial)
        output.line(f"  at least          all of this: {named} keeps more, as its kernel chooses")
    if largest is not None:
        most = "fewer than " if memory.partial else ""
        fits = f"{most}{largest} images" if largest else "none: not even one image fits"
        output.line(f"  largest batch in {limit}: {fits}")


def under_the_roof(name: str, under: Bounds, roof: Roofline) -> None:
    """How much of the network waits for memory on this machine."""
    waiting = sum(layer.by == "memory" for layer in under.layers)
    ridge = roof.ridge(under.precision)
    output.line()
    output.line(
        f"on this machine, {under.precision}, layer by layer (it is level at {ridge:.1f} MACs/byte)"
    )
    output.line(
        f"  one forward      {1e3 * under.seconds:.3g} ms of {name}, no map kept in a cache"
    )
    output.line(
        f"  waiting          {waiting} of {len(under.layers)} layers for memory, "
        f"{100 * under.memory_share:.0f} % of that time"
    )
