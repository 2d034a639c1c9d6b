"""``vertebra bench``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vertebra.cli import bench_text, output

if TYPE_CHECKING:
    from vertebra.bench import Cell, Outcome


def command(
    targets: Annotated[
        list[str] | None,
        typer.Argument(help="Models, run folders, package.module:factory; or two files."),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="eager, compile, onnxruntime, openvino, cudagraphs, ...")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16, fp16, int8.")] = None,
    batch: Annotated[str, typer.Option(help="Images of a call, as 1,8.")] = "1",
    threads: Annotated[
        int | None, typer.Option(min=1, help="All usable cores if not given.")
    ] = None,
    layout: Annotated[str, typer.Option(help="contiguous, channels_last.")] = "contiguous",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    image_size: Annotated[int | None, typer.Option(min=1, help="Pixels of a side.")] = None,
    workload: Annotated[
        str, typer.Option("--workload", "--mode", help="stream, offline, server or train.")
    ] = "stream",
    rate: Annotated[float | None, typer.Option(help="Requests a second, of a server.")] = None,
    percentile: Annotated[str, typer.Option(help="The highest: p90, or p99 (662 calls).")] = "p90",
    suite: Annotated[str | None, typer.Option(help="A set of networks: families.")] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Time by layer, too.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Measure what is known, too.")] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare two files that --json wrote.")
    ] = False,
    store: Annotated[str | None, typer.Option(help="Another store of evidence.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write what was asked for on a page.")] = None,
    json: output.Json = False,
    quiet: output.Quiet = False,
) -> None:
    """Measure what networks cost on this machine, side by side, and keep it.

    Lists are separated by commas. What is known already is not measured again.
    """
    from vertebra.core import VertebraError

    if compare:
        _compare(targets or [], json)
        return
    from vertebra.bench import cells, run
    from vertebra.bench.suite import ENGINES, PRECISIONS
    from vertebra.bench.suite import suite as networks
    from vertebra.evidence import Evidence

    if html and not html.parent.is_dir():  # before minutes of measuring, and not after them
        raise VertebraError(f"{html.parent} is no folder, so {html.name} cannot be written there")
    names = [*(targets or ()), *(networks(suite) if suite else ())]
    wanted = cells(
        names,
        _words(engine) or (ENGINES if suite else ("eager",)),
        _words(precision) or (PRECISIONS if suite else ("fp32",)),
        _numbers("--batch", batch),
        _words(layout),
        threads,
        device,
        image_size,
        workload,
        rate,
    )
    tell = (lambda _text: None) if quiet else output.notice
    with Evidence(store) as evidence, output.answers_only():
        outcome = run(wanted, evidence, force=force, highest=percentile, by_layer=layers, tell=tell)
        where = evidence.name
    if html:
        from vertebra.bench.page import bench_page

        missing = bench_text.missing(outcome)
        bench_page([*outcome.known, *outcome.measurements], missing=missing).write(html)
    _answer(outcome, wanted, where, html, json, layers)
    if outcome.unmeasurable:
        raise VertebraError(outcome.unmeasurable[0][1], exit_code=1)
    if not outcome.known and not outcome.measurements:
        cell, reason = outcome.unavailable[0]
        raise VertebraError(f"{cell}: {reason}")


def _answer(
    outcome: Outcome, wanted: list[Cell], where: str, html: Path | None, json: bool, layers: bool
) -> None:
    if json:
        output.document(bench_text.document(outcome))
        return
    bench_text.print_outcome(outcome, wanted)
    if layers:
        bench_text.print_layers(outcome)
    output.line(str(html) if html else where)


def _compare(files: list[str], json: bool) -> None:
    from vertebra.bench.compare import compare, read
    from vertebra.core import VertebraError

    if len(files) != 2:
        raise VertebraError("--compare takes two files that vertebra bench --json wrote")
    before, after = (read(Path(file)) for file in files)
    both, lonely = compare(before, after)
    if not both:
        raise VertebraError("the two files have no measurement in common")
    if json:
        rows = [one.to_dict() for one in both]
        output.document({"schema": "vertebra.bench-compare/1", "compared": rows, "only": lonely})
        return
    bench_text.print_compared(both, lonely)


def _words(text: str | None) -> list[str]:
    return [word for word in (text or "").replace(" ", "").split(",") if word]


def _numbers(option: str, text: str) -> list[int]:
    from vertebra.core import VertebraError

    try:
        numbers = [int(word) for word in _words(text)]
    except ValueError:
        numbers = []
    if not numbers:
        raise VertebraError(f"{option} takes whole numbers like 1,8, got '{text}'")
    return numbers
