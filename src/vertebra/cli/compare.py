"""``vertebra compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vertebra.cli import output
from vertebra.cli.network_text import fed
from vertebra.cli.targets import Convention, ImageSize, Inputs, opened

if TYPE_CHECKING:
    from vertebra.anatomy import Anatomy, Comparison


def command(
    targets: Annotated[
        list[str],
        typer.Argument(help="Two or more: models, run folders, package.module:factory."),
    ],
    image_size: ImageSize = None,
    inputs: Inputs = None,
    convention: Convention = "torchvision",
    json: output.Json = False,
) -> None:
    """Put networks side by side: x2 is twice what the first one has.

    Layers are counted by their class, and an operation that a larger module does itself by
    PyTorch's name for it; "=" stands where all have as many.
    """
    from vertebra.anatomy import check_convention, compare, dissect
    from vertebra.core import VertebraError

    if len(targets) < 2:
        raise VertebraError("compare takes two networks or more")
    if len(set(targets)) < len(targets):
        raise VertebraError("a network is compared with itself; name each once")
    check_convention(convention)
    bodies: dict[str, Anatomy] = {}
    with output.answers_only():
        for target in targets:
            subject = opened(target, image_size, inputs, 1)
            body = dissect(subject.net, convention=convention, inputs=subject.inputs)
            # Two runs of one architecture are told apart by their folders.
            bodies[target if subject.name in bodies else subject.name] = body
    found = compare(bodies)
    if json:
        output.document(found.to_dict())
        return
    _figures(found)
    _stages(found)
    _kinds(found)


def _figures(found: Comparison) -> None:
    """The totals, each with how many times the first network's it is."""
    bodies = found.bodies
    numbers = [
        ("parameters", "params"),
        (f"MACs ({bodies[0].convention})", "macs"),
        ("MACs backward", "backward_macs"),
        ("bytes moved", "bytes_moved"),
        ("MACs/byte", "intensity"),
    ]
    rows = [["input", *(fed(body) for body in bodies)]]
    for what, figure in numbers:
        cells = zip(bodies, found.ratios(figure), strict=True)
        rows.append([what, *(_marked(getattr(body, figure), by) for body, by in cells)])
    rows.append(["receptive field", *(str(body.receptive_field or "-") for body in bodies)])
    if any(body.partial for body in bodies):
        rows.append(["not counted", *(", ".join(body.partial) for body in bodies)])
    output.table(["", *found.names], rows)
    output.line()


def _marked(number: float | None, ratio: float | None) -> str:
    """With the ratio to the first network, where there is a difference."""
    from vertebra.report.words import si

    text = "not known" if number is None else si(number)
    if ratio is None or ratio == 1:
        return f"{text}        "
    return f"{text}  x{ratio:<5.3g}"


def _stages(found: Comparison) -> None:
    """Stage by stage: map, share of the MACs."""
    columns: list[list[str]] = []
    for body in found.bodies:
        total = max(body.macs, 1)
        columns.append(
            [
                f"{stage.name} {_compact(body.per_image(stage.output_shape))} "
                f"{100 * stage.macs / total:4.1f}%"
                for stage in body.stages
            ]
        )
    longest = max(len(column) for column in columns)
    rows = [
        [str(place), *(column[place] if place < len(column) else "" for column in columns)]
        for place in range(longest)
    ]
    output.table(["stage", *found.names], rows)
    output.line()


def _compact(shape: tuple[int, ...]) -> str:
    return "x".join(str(extent) for extent in shape)


def _kinds(found: Comparison) -> None:
    """How many layers of each kind; "=" where all networks have as many."""
    rows = []
    for kind, counts in found.kinds.items():
        same = "=" if len(set(counts)) == 1 else ""
        rows.append([f"{kind} {same}".rstrip(), *(str(n) if n else "" for n in counts)])
    output.table(["layers (=: as many)", *found.names], rows)
