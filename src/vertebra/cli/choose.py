"""``vertebra choose``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vertebra.cli import choose_text, output

if TYPE_CHECKING:
    from vertebra.choice import OnData, Requirement
    from vertebra.data import ImageDataset


def command(
    data: Annotated[
        str | None, typer.Argument(help="Your images: a folder, a manifest, wds:..., digits.")
    ] = None,
    kind: Annotated[str, typer.Option(help="images, table, text, audio, graph, ...")] = "images",
    images: Annotated[int | None, typer.Option(help="Labelled images.")] = None,
    classes: Annotated[int | None, typer.Option(help="Classes to tell apart.")] = None,
    input_size: Annotated[int | None, typer.Option(help="Pixels of a side.")] = None,
    latency_ms: Annotated[float | None, typer.Option(help="Most that a call may take.")] = None,
    percentile: Annotated[str, typer.Option(help="Of that time: p50, p90 or p99.")] = "p50",
    throughput: Annotated[float | None, typer.Option(help="Images a second, at least.")] = None,
    batch_served: Annotated[int, typer.Option(help="Images of a call.")] = 1,
    memory_mb: Annotated[float | None, typer.Option(help="Most memory of the process.")] = None,
    file_mb: Annotated[float | None, typer.Option(help="Most that is shipped.")] = None,
    gmacs: Annotated[float | None, typer.Option(help="Most 1e9 MACs of an image.")] = None,
    params_m: Annotated[float | None, typer.Option(help="Most 1e6 parameters.")] = None,
    device: Annotated[str, typer.Option(help="Where it is served: cpu or cuda.")] = "cpu",
    engine: Annotated[str | None, typer.Option(help="Engines allowed, by commas.")] = None,
    precision: Annotated[str | None, typer.Option(help="Precisions allowed, by commas.")] = None,
    threads: Annotated[int | None, typer.Option(help="Of a call; all usable ones.")] = None,
    hours: Annotated[float | None, typer.Option(help="Most hours of training.")] = None,
    gpus: Annotated[int, typer.Option(help="For training; 0: this CPU.")] = 0,
    min_accuracy: Annotated[float | None, typer.Option(help="Share of right answers.")] = None,
    must_features: Annotated[
        bool, typer.Option("--must-features", help="Maps of several resolutions are needed.")
    ] = False,
    licence: Annotated[str | None, typer.Option(help="Accepted licences, by commas.")] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained/--from-scratch", help="Whether weights may be had.")
    ] = True,
    interpretable: Annotated[
        bool, typer.Option("--interpretable", help="Every answer must be explained exactly.")
    ] = False,
    domain: Annotated[str, typer.Option(help="photographs, near, or far.")] = "photographs",
    baseline_accuracy: Annotated[
        float | None, typer.Option(help="What a classical model reaches.")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Images of a training step that fit.")] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="A wildcard of networks to leave out; repeat it.")
    ] = None,
    prefer: Annotated[str, typer.Option(help="balanced, accuracy or speed.")] = "balanced",
    runs: Annotated[
        str, typer.Option(help="With data: the folder whose runs on it count.")
    ] = "runs",
    probe: Annotated[
        int, typer.Option(min=0, help="With data: probe the features of so many candidates.")
    ] = 0,
    measure: Annotated[
        float,
        typer.Option(min=0, help="Minutes to measure what stands before an answer."),
    ] = 0.0,
    every: Annotated[bool, typer.Option("--all", help="Why not, for every network.")] = False,
    store: Annotated[str | None, typer.Option(help="Another store of evidence.")] = None,
    json: output.Json = False,
    quiet: output.Quiet = False,
) -> None:
    """Choose a network: what holds the limits, by evidence, and why not the others."""
    from vertebra.choice import Requirement, choose
    from vertebra.choice.probing import probe_candidates
    from vertebra.core import VertebraError
    from vertebra.evidence import Evidence

    if not math.isfinite(measure):
        raise VertebraError(f"--measure is a number of minutes, got {measure:g}")
    given: dict[str, Any] = {
        "kind": kind,
        "images": images,
        "classes": classes,
        "input_size": input_size,
        "latency_ms": latency_ms,
        "percentile": percentile,
        "throughput": throughput,
        "batch_served": batch_served,
        "memory_mb": memory_mb,
        "file_mb": file_mb,
        "gmacs": gmacs,
        "params_m": params_m,
        "device": device,
        "engines": _words(engine),
        "precisions": _words(precision),
        "threads": threads,
        "hours": hours,
        "gpus": gpus,
        "min_accuracy": min_accuracy,
        "must_features": must_features,
        "licence": _words(licence),
        "pretrained": pretrained,
        "interpretable": interpretable,
        "domain": domain,
        "baseline_accuracy": baseline_accuracy,
        "batch": batch,
        "exclude": tuple(exclude or ()),
        "prefer": prefer,
    }
    tell = (lambda _text: None) if quiet else output.notice
    requirement, known, dataset = Requirement(**given), None, None
    if data is not None:
        requirement, known, dataset = _of_data(data, given, runs)
    elif probe:
        raise VertebraError("--probe needs your images: vertebra choose path/to/folder --probe 3")
    with Evidence(store) as evidence, output.answers_only():
        choice = choose(
            requirement, evidence, on_data=known, data=data, seconds=60 * measure, tell=tell
        )
        if probe and dataset is not None and known is not None:
            known = probe_candidates(choice, dataset, probe, known, tell)
            choice = choose(requirement, evidence, on_data=known, data=data)
    if json:
        output.document(choice.to_dict())
    else:
        choose_text.print_choice(choice, every)
    if choice.recommended is None and not (choice.gate and choice.gate.stop):
        raise typer.Exit(1)


def _of_data(
    data: str, given: dict[str, Any], runs: str
) -> tuple[Requirement, OnData, ImageDataset]:
    """The requirement of a dataset, what is known from its images, and the dataset."""
    from vertebra.choice.on_data import of_dataset
    from vertebra.core import VertebraError
    from vertebra.data import open_dataset

    for name in ("images", "classes"):
        if given[name] is not None:
            raise VertebraError(f"{data} says how many {name} there are; leave --{name} out")
    dataset = open_dataset(data)
    rest = {name: value for name, value in given.items() if name not in ("images", "classes")}
    return *of_dataset(dataset, Path(runs), **rest), dataset


def _words(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    return tuple(word for word in text.replace(" ", "").split(",") if word)
