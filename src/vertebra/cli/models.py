"""``vertebra models``."""

from __future__ import annotations

from typing import Annotated

import typer

from vertebra.cli import output


def command(
    pattern: Annotated[str, typer.Argument(help="A wildcard, such as 'resnet*'.")] = "*",
    exclude: Annotated[
        list[str] | None, typer.Option(help="A wildcard to leave out; may be repeated.")
    ] = None,
    family: Annotated[str | None, typer.Option(help="One family only.")] = None,
    json: output.Json = False,
) -> None:
    """List architectures: name, year, parameters, MACs, input size."""
    from vertebra.core import VertebraError
    from vertebra.report.words import shape, si
    from vertebra.zoo import get, list_models

    names = list_models(pattern, exclude=exclude or (), family=family)
    found = [get(name) for name in names]
    if json:
        rows = [{**vars(entry), "options": dict(entry.options)} for entry in found]
        output.document({"schema": "vertebra.models/1", "models": rows})
        return
    if not found:
        raise VertebraError(f"no model matches '{pattern}'; vertebra models lists them all")
    output.table(
        ("model", "family", "year", "parameters", "MACs", "input"),
        [
            (e.name, e.family, str(e.year), si(e.params), si(e.macs), shape((1, *e.input_size)))
            for e in found
        ],
        text=2,
    )
