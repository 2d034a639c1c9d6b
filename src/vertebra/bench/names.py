"""How a person names what is measured."""

from __future__ import annotations

from vertebra.evidence import Measurement


def cell_name(
    target: str,
    engine: str,
    precision: str,
    layout: str,
    batch: int,
    workload: str,
    rate: str | None = None,
) -> str:
    """ "resnet50 openvino bf16 x1", with what is not usual; ``rate`` of a server."""
    layout = "" if layout == "contiguous" else f" {layout}"
    kind = "" if workload == "stream" else f" {workload}"
    kind += "" if rate is None else f" {rate}/s"
    return f"{target} {engine} {precision}{layout} x{batch}{kind}"


def name(measurement: Measurement) -> str:
    """That of what was measured."""
    c = measurement.conditions
    rate = c.options.get("rate")
    return cell_name(measurement.model, c.engine, c.precision, c.layout, c.batch, c.workload, rate)
