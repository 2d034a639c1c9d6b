"""``vertebra evidence``."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vertebra.cli import output

if TYPE_CHECKING:
    from vertebra.evidence import Evidence, Measurement

_ACTIONS = ("list", "export", "import")
_STDIN_OR_STDOUT = "-"


def command(
    action: Annotated[str, typer.Argument(help="'list', 'export' or 'import'.")] = "list",
    file: Annotated[
        str | None, typer.Argument(help="Of export and import; '-' for stdout and stdin.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="List one model, or a wildcard such as 'resnet*'.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="List one engine only.")] = None,
    precision: Annotated[str | None, typer.Option(help="List one precision only.")] = None,
    all_machines: Annotated[
        bool, typer.Option("--all-machines", help="List what other machines measured, too.")
    ] = False,
    store: Annotated[
        str | None,
        typer.Option(help="Another store: a file, or an address; else VERTEBRA_EVIDENCE."),
    ] = None,
    json: output.Json = False,
) -> None:
    """List what was measured, the newest of equal conditions; export it, import it elsewhere."""
    from vertebra.core import VertebraError, unknown

    if action not in _ACTIONS:
        raise unknown("action", action, _ACTIONS)
    if action == "list" and file is not None:
        raise VertebraError(f"list takes no file, got '{file}'; to list one model: --model")
    if action != "list":
        filters = {"--model": model, "--engine": engine, "--precision": precision}
        given = [name for name, value in filters.items() if value is not None]
        _refuse(action, given + ["--all-machines"] * all_machines)
    if action != "list" and file is None:
        raise VertebraError(f"{action} needs a file: vertebra evidence {action} FILE, or -")

    from vertebra.evidence import Evidence

    with Evidence(store) as evidence:
        if action == "export":
            _export(evidence, str(file), json)
        elif action == "import":
            _import(evidence, str(file), json)
        else:
            _list(evidence, model, engine, precision, all_machines, json)


def _refuse(action: str, given: list[str]) -> None:
    from vertebra.core import VertebraError

    if given:
        raise VertebraError(f"{action} has no use for {' and '.join(given)}")


def _list(
    evidence: Evidence,
    model: str | None,
    engine: str | None,
    precision: str | None,
    all_machines: bool,
    json: bool,
) -> None:
    from vertebra.evidence.store import document_of
    from vertebra.machine import describe
    from vertebra.report.words import plural

    for field, word in (("model", model), ("engine", engine), ("precision", precision)):
        _check_filter(evidence, field, word)
    found = evidence.measurements(model=model, engine=engine, precision=precision)
    here = describe().fingerprint
    rows = [one for one in found if all_machines or one.conditions.machine == here]
    if json:
        machines = {one.conditions.machine for one in rows}
        known = {name: about for name, about in evidence.machines().items() if name in machines}
        output.document(document_of(known, rows))
        return
    if not found:
        output.line(f"nothing was measured yet: vertebra bench MODEL fills {evidence.name}")
        return
    if rows:
        _table(rows, here)
    if len(rows) < len(found):
        others = plural(len(found) - len(rows), "measurement")
        output.line(f"{others} of other machines: vertebra evidence --all-machines")


def _check_filter(evidence: Evidence, field: str, word: str | None) -> None:
    """A filter by what nobody measured is refused, unless nothing was measured at all."""
    from fnmatch import fnmatchcase

    from vertebra.core import VertebraError, unknown

    known = evidence.known(field) if word is not None else []
    if word is None or not known or word in known:
        return
    if field != "model" or not set(word) & set("*?["):
        raise unknown(f"{field} among those measured:", word, known)
    if not any(fnmatchcase(name, word) for name in known):
        raise VertebraError(f"no model that was measured matches '{word}'")


def _telling_options(rows: Sequence[Measurement]) -> list[str]:
    """The options in which rows differ that are equal in all else."""
    by_rest: dict[str, list[Mapping[str, str]]] = {}
    for one in rows:
        rest = replace(one.conditions, options={}).key
        by_rest.setdefault(rest, []).append(one.conditions.options)
    return sorted(
        {
            name
            for some in by_rest.values()
            for name in {name for options in some for name in options}
            if len({options.get(name) for options in some}) > 1
        }
    )


def _options(one: Measurement, names: Sequence[str]) -> str:
    given = one.conditions.options
    return ", ".join(f"{name}={given[name]}" for name in names if name in given)


def _table(rows: Iterable[Measurement], here: str) -> None:
    from vertebra.report.words import plural, size

    rows = list(rows)
    telling = _telling_options(rows)
    columns = (
        *("model", "engine", "version", "precision", "layout", "workload", "device"),
        *(["options"] if telling else []),
        *("batch", "threads", "p50 ms (99 %)", "p90 ms", "memory", "when (UTC)", "machine"),
    )
    cells = [
        (
            one.model,
            one.conditions.engine,
            one.conditions.engine_version,
            one.conditions.precision,
            one.conditions.layout,
            one.conditions.workload,
            one.conditions.device,
            *([_options(one, telling)] if telling else []),
            str(one.conditions.batch),
            str(one.conditions.threads),
            f"{_ms(one.p50)} ({_ms(one.interval[0])} to {_ms(one.interval[1])})",
            _ms(one.p90),
            size(one.memory),
            _when(one.measured_at),
            "here" if one.conditions.machine == here else "other",
        )
        for one in rows
    ]
    output.table(columns, cells, text=8 if telling else 7)
    disturbed = sum(bool(one.warnings) for one in rows)
    if disturbed:
        output.line(f"{plural(disturbed, 'measurement')} with warnings: --json says which")
    costs = sorted({f"{one.model} in {one.conditions.precision}" for one in rows if one.cost_only})
    if costs:
        output.line(f"cost only, not accurate: {', '.join(costs)}")


def _ms(seconds: float) -> str:
    """0.0123 -> "12.3"; four digits at most before the point goes."""
    return f"{1000 * seconds:.3f}" if seconds < 0.01 else f"{1000 * seconds:.1f}"


def _when(measured_at: str) -> str:
    from vertebra.evidence.checks import moment

    return f"{moment(measured_at):%Y-%m-%d %H:%M}"


def _export(evidence: Evidence, file: str, json: bool) -> None:
    from vertebra.core import replace_file
    from vertebra.report.words import plural

    document = evidence.export()
    if file == _STDIN_OR_STDOUT:
        output.document(document)
        return
    path = Path(file)
    _check_path(path)
    text = json_module.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    replace_file(path, text + "\n")
    number = len(document["measurements"])
    if json:
        content = {"path": file, "measurements": number, "machines": len(document["machines"])}
        output.document({"schema": "vertebra.evidence-export/1", **content})
        return
    output.line(f"{plural(number, 'measurement')} of {evidence.name}")
    output.line(file)


def _check_path(path: Path) -> None:
    from vertebra.core import VertebraError

    if path.is_dir():
        raise VertebraError(f"export takes a file, and {path} is a folder")
    if not path.absolute().parent.is_dir():
        raise VertebraError(f"there is no folder {path.parent} to write {path.name} into")


def _import(evidence: Evidence, file: str, json: bool) -> None:
    from vertebra.report.words import plural

    added, known = evidence.import_(_parsed(file))
    if json:
        content = {"store": evidence.name, "added": added, "known": known}
        output.document({"schema": "vertebra.evidence-import/1", **content})
        return
    output.line(f"{plural(added, 'measurement')} added, {known} known before")
    output.line(evidence.name)


def _parsed(file: str) -> Any:
    """The JSON of a file, or of stdin."""
    from vertebra.core import VertebraError

    try:
        if file == _STDIN_OR_STDOUT:
            return json_module.load(sys.stdin)
        return json_module.loads(Path(file).read_bytes())
    except (ValueError, RecursionError) as error:
        raise VertebraError(
            f"{file} is no JSON, as vertebra evidence export writes it: {error}"
        ) from None
