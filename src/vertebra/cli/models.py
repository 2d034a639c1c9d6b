"""``vertebra models``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from vertebra.cli import output

if TYPE_CHECKING:
    from vertebra.zoo import Architecture


def command(
    pattern: Annotated[str, typer.Argument(help="A wildcard, such as 'resnet*'.")] = "*",
    exclude: Annotated[
        list[str] | None, typer.Option(help="A wildcard to leave out; may be repeated.")
    ] = None,
    family: Annotated[str | None, typer.Option(help="One family only.")] = None,
    json: output.Json = False,
) -> None:
    """List architectures: name, year, parameters, MACs, input size, best accuracy at that size.

    'timm/PATTERN' lists the names of timm's networks instead.
    """
    from vertebra.core import VertebraError, unknown
    from vertebra.report.words import shape, si
    from vertebra.zoo import get, list_models

    names = list_models(pattern, exclude=exclude or (), family=family)
    if pattern.startswith("timm/"):
        # Each would have to be built to say more.
        rows = [{"name": name} for name in names]
        found = []
    else:
        found = [get(name) for name in names]
        rows = [asdict(entry) for entry in found]
    if json:
        output.document({"schema": "vertebra.models/1", "models": rows})
        return
    if not names and not set(pattern) & set("*?["):
        raise unknown("model", pattern, list_models())
    if not names:
        raise VertebraError(f"no model matches '{pattern}'; vertebra models lists them all")
    if not found:
        for name in names:
            output.line(name)
        return
    output.table(
        ("model", "family", "best weights", "top-1", "year", "parameters", "MACs", "input"),
        [
            (
                entry.name,
                entry.family,
                *_best(entry),
                str(entry.year),
                si(entry.params - entry.aux_params),
                si(entry.macs),
                shape((1, *entry.input_size)),
            )
            for entry in found
        ],
        text=3,
    )
    for entry in found:
        if entry.aux_params:
            output.line(
                f"{entry.name}: {si(entry.aux_params)} more parameters in auxiliary heads, which "
                f"only training runs"
            )


def _best(entry: Architecture) -> tuple[str, str]:
    """(weights, top-1) of the most accurate published result at the size of the MACs."""
    from vertebra.report.words import percent

    best = entry.best
    return ("", "") if best is None else (best.weights, percent(best.top1))
