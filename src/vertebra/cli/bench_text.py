"""What ``vertebra bench`` prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from vertebra.cli import output

if TYPE_CHECKING:
    from vertebra.bench import Cell, Outcome
    from vertebra.bench.compare import Compared
    from vertebra.evidence import Measurement


def document(outcome: Outcome) -> dict[str, Any]:
    """The answer as plain data."""
    from vertebra.bench.compare import SCHEMA

    return {
        "schema": SCHEMA,
        "measurements": [m.to_dict() for m in [*outcome.known, *outcome.measurements]],
        "unavailable": [{"cell": str(cell), "why": why} for cell, why in outcome.unavailable],
        "unmeasurable": [{"cell": str(cell), "why": why} for cell, why in outcome.unmeasurable],
    }


def print_outcome(outcome: Outcome, wanted: Sequence[Cell]) -> None:
    """A row a measurement, in the order asked for; then what cannot be had, and why."""
    found = [*outcome.known, *outcome.measurements]
    order = {_of_cell(cell): place for place, cell in enumerate(wanted)}
    found.sort(key=lambda m: order.get(_of(m), len(order)))
    if found:
        _table(found)
    for text in missing(outcome):
        output.line(text)
    for warning in dict.fromkeys(w for m in found for w in m.warnings):
        output.notice(f"warning: {warning}")
    if any(m.cost_only for m in found):
        output.notice("int8 was calibrated on random images: its cost holds, its answers do not")


def missing(outcome: Outcome) -> list[str]:
    """What was asked for and could not be had, a line for each reason."""
    cannot = [f"unavailable: {text}" for text in _without(outcome.unavailable)]
    return cannot + [f"not measured: {text}" for text in _without(outcome.unmeasurable)]


def _without(some: Sequence[tuple[Cell, str]]) -> Iterator[str]:
    """A line for each reason: the first cell that it holds for, and how many more."""
    by_reason: dict[str, list[Cell]] = {}
    for cell, why in some:
        by_reason.setdefault(why, []).append(cell)
    for why, cells in by_reason.items():
        more = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
        yield f"{cells[0]}{more}: {why}"


def _of(m: Measurement) -> tuple[object, ...]:
    c = m.conditions
    return m.model, c.input_shape, c.engine, c.precision, c.layout, c.workload


def _of_cell(cell: Cell) -> tuple[object, ...]:
    s = cell.setup
    return cell.target, cell.input_shape, s.engine, s.precision, s.layout, cell.workload


def _table(found: Sequence[Measurement]) -> None:
    from vertebra.bench.serving import is_overloaded
    from vertebra.report.words import size

    with_p99 = any(m.p99 is not None for m in found)
    first: dict[tuple[object, ...], Measurement] = {}
    for m in found:
        first.setdefault((m.model, m.conditions.batch, m.conditions.workload), m)
    columns = ["model", "engine", "precision", "batch", "p50 ms", "99 % interval", "p90 ms"]
    columns += ["p99 ms"] if with_p99 else []
    columns += ["images/s", "times", "memory", "file", "load s", "first s"]
    rows = []
    for m in found:
        c = m.conditions
        layout = " cl" if c.layout == "channels_last" else ""
        times = _times(first[m.model, c.batch, c.workload], m)
        row = [m.model, f"{c.engine}{layout}", c.precision + ("*" if m.cost_only else "")]
        row += [str(c.batch), _ms(m.p50), f"{_ms(m.interval[0])}-{_ms(m.interval[1])}", _ms(m.p90)]
        row += [_ms(m.p99) if m.p99 is not None else "-"] if with_p99 else []
        row += [f"{m.images_per_second:.1f}", times, size(m.memory)]
        row += [size(m.file), f"{m.load:.2f}", f"{m.first:.2f}"]
        rows.append(row)
    output.table(columns, rows, text=3)
    floor = max(m.floor for m in found)
    output.line(f"noise floor {100 * floor:.1f} %: no smaller difference is one")
    for m in found:
        if is_overloaded(m):
            output.line(
                f"{m.model} in {m.conditions.engine} {m.conditions.precision} is overloaded: busy "
                f"{100 * m.extra['busy']:.0f} % of the time, so requests wait ever longer and its "
                f"times say how long it was asked"
            )


def _times(base: Measurement, m: Measurement) -> str:
    """How many times as fast as the first of its network, with the interval; "=": no difference."""
    from vertebra.bench.compare import ratio

    if m is base:
        return "1"
    r = ratio(m, base)
    mark = "" if r.differs else "= "
    return f"{mark}{r.value:.2f} ({r.low:.2f}-{r.high:.2f})"


def print_layers(outcome: Outcome) -> None:
    """The twenty layers of each that take longest."""
    from vertebra.bench.names import name

    for m in [*outcome.known, *outcome.measurements]:
        layers = m.extra.get("layers", ())
        if isinstance(layers, str):
            output.line(f"{name(m)}: no time by layer: {layers}")
            continue
        some = sorted(layers, key=lambda row: -row["seconds"])
        total = sum(row["seconds"] for row in some) or 1.0
        output.line()
        output.line(
            f"{m.model} {m.conditions.engine} {m.conditions.precision}, by its own profiler"
        )
        rows = [
            [row["name"], row["kind"], _ms(row["seconds"]), f"{100 * row['seconds'] / total:.1f} %"]
            for row in some[:20]
        ]
        output.table(["layer", "kind", "ms", "share"], rows, text=2)


def print_compared(both: Sequence[Compared], lonely: Sequence[str]) -> None:
    """Ratios of what both files have."""
    rows = []
    for one in both:
        r = one.ratio
        verdict = "same" if not r.differs else "slower" if r.value > 1 else "faster"
        rows.append(
            [
                one.name,
                verdict,
                _ms(one.before.p50),
                _ms(one.after.p50),
                f"{r.value:.3f}",
                f"{r.low:.3f}-{r.high:.3f}",
                f"{100 * r.floor:.1f} %",
            ]
        )
    columns = ["cell", "verdict", "before ms", "after ms", "ratio", "99 % interval", "floor"]
    output.table(columns, rows, text=2)
    if any(one.other_machine for one in both):
        output.notice("some were measured on different machines, which the ratio then compares too")
    other = sorted({what for one in both for what in one.other_options})
    if other:
        output.notice(f"some were measured with another {', '.join(other)}, which is compared too")
    for name in lonely:
        output.notice(f"only in one file: {name}")


def _ms(seconds: float) -> str:
    milliseconds = 1e3 * seconds
    return f"{milliseconds:.3f}" if milliseconds < 10 else f"{milliseconds:.2f}"
