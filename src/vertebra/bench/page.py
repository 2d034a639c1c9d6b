"""All that was measured, on one page that opens offline."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from vertebra.bench import disturbance
from vertebra.bench.compare import ratio
from vertebra.bench.listed import listed_at_own_size
from vertebra.bench.serving import is_overloaded
from vertebra.evidence import Measurement
from vertebra.machine import Roofline, measure_roofline
from vertebra.report import Page, Point, gains_plot, roofline_plot, scatter_plot, size, sortable
from vertebra.zoo import Architecture

# The row of a table that the page opens with: the median.
_BY = 4


def bench_page(
    measurements: Sequence[Measurement],
    roof: Roofline | None = None,
    missing: Sequence[str] = (),
) -> Page:
    """Accuracy over latency with its front, the roofline, the gain of each engine, every figure.

    ``roof``: the ceilings of this machine, measured (two seconds) if None and there is something to
    put under them. ``missing``: what was asked for and could not be had, a line each.
    """
    machines = {m.conditions.machine for m in measurements}
    floor = max((m.floor for m in measurements), default=0.0)
    page = Page("What these networks cost here", _lead(measurements, len(machines), floor))
    streams = [m for m in measurements if m.conditions.workload == "stream"]
    _accuracy(page, streams)
    _engines(page, streams)
    _roofline(page, streams, roof)
    _figures(page, measurements)
    if missing:
        page.section("Not here", "Asked for and not had, so the fastest engine may be among them.")
        for line in missing:
            page.text(line)
    return page


def _lead(measurements: Sequence[Measurement], machines: int, floor: float) -> str:
    where = "one machine" if machines == 1 else f"{machines} machines"
    return (
        f"{len(measurements)} measurements on {where}; times are medians with 99 % intervals, and "
        f"no difference below {100 * floor:.1f} % is one."
    )


def _accuracy(page: Page, streams: Sequence[Measurement]) -> None:
    fastest: dict[str, tuple[Measurement, float]] = {}
    for m in streams:
        entry = listed_at_own_size(m)
        best = entry.best if entry else None
        if m.cost_only or m.conditions.batch != 1 or best is None or best.top1 is None:
            continue
        if m.model not in fastest or m.p50 < fastest[m.model][0].p50:
            fastest[m.model] = m, best.top1
    if not fastest:
        return
    points = [
        Point(name, 1e3 * m.p50, 100 * top1, 1e3 * m.interval[0], 1e3 * m.interval[1])
        for name, (m, top1) in fastest.items()
    ]
    front = [p.name for p in points if not any(_beats(other, p) for other in points)]
    page.section(
        "Accuracy and time",
        "Published ImageNet top-1 at the network's own size, each in its fastest engine and "
        "precision (int8 left out: its accuracy is not known), one image. The line joins those "
        "that no other beats on both.",
    )
    page.plots([scatter_plot(points, front, "ms an image (p50)", "ImageNet top-1, %")])


def _beats(one: Point, other: Point) -> bool:
    as_good = one.x <= other.x and one.y >= other.y
    return as_good and (one.x, one.y) != (other.x, other.y)


def _engines(page: Page, streams: Sequence[Measurement]) -> None:
    eager = {
        (m.model, m.conditions.batch): m
        for m in streams
        if (m.conditions.engine, m.conditions.precision, m.conditions.layout)
        == ("eager", "fp32", "contiguous")
    }
    rows: dict[str, dict[str, float]] = {}
    for m in streams:
        c = m.conditions
        base = eager.get((m.model, c.batch))
        if base is None or (c.engine, c.precision, c.layout) == ("eager", "fp32", "contiguous"):
            continue
        layout = " channels_last" if c.layout == "channels_last" else ""
        name = m.model if c.batch == 1 else f"{m.model} x{c.batch}"
        rows.setdefault(name, {})[f"{c.engine} {c.precision}{layout}"] = ratio(m, base).value
    if rows:
        page.section(
            "Engines",
            "How many times faster than eager PyTorch in fp32: the "
            "middle of the rounds where they took turns, so not just the ratio of the medians.",
        )
        page.plots([gains_plot(rows, "times faster than eager fp32")])


def _roofline(page: Page, streams: Sequence[Measurement], roof: Roofline | None) -> None:
    here = [
        (m, entry)
        for m in streams
        if m.conditions.engine == "eager"
        and m.conditions.precision == "fp32"
        and m.conditions.batch == 1
        and m.conditions.device == "cpu"
        and (entry := listed_at_own_size(m)) is not None
    ]
    if not here:
        return
    busy = () if roof else disturbance.now()
    roof = roof or measure_roofline(threads=here[0][0].conditions.threads)
    doubt = f" That was measured while {'; '.join(busy)}: it may be too low." if busy else ""
    points = [
        Point(m.model, entry.macs / _moved(entry), entry.macs / m.p50 / 1e9) for m, entry in here
    ]
    page.section(
        "Roofline",
        f"Eager PyTorch in fp32, one image: multiply-accumulates a second over those for each "
        f"byte, under what this machine reaches in a product of large matrices and in a copy "
        f"({roof.macs_per_second['fp32'] / 1e9:.0f} GMACs/s, "
        f"{roof.bytes_per_second / 1e9:.1f} GB/s). Bytes are counted as if every map went through "
        f"memory.{doubt}",
    )
    peak, bandwidth = roof.macs_per_second["fp32"] / 1e9, roof.bytes_per_second / 1e9
    page.plots([roofline_plot(points, peak, bandwidth, "MACs a byte", "GMACs/s")])


def _moved(entry: Architecture) -> int:
    return sum(numbers[1] for numbers in entry.work.values())


def _figures(page: Page, measurements: Sequence[Measurement]) -> None:
    page.section(
        "Every figure",
        "Click a column to sort by it. An asterisk: int8 calibrated on random images, its cost "
        "alone holds. Memory: the most that the process held, its libraries included.",
    )
    columns = ["model", "engine", "precision", "batch", "p50 ms", "from", "to", "p90 ms"]
    columns += ["images/s", "memory", "file", "MACs", "top-1"]
    rows = [[*_cells(m)] for m in measurements]
    page.sortable(sortable(columns, rows, text=3, by=_BY, descending=(8, 12)))


def _cells(m: Measurement) -> list[tuple[str, float | str | None]]:
    c, entry = m.conditions, listed_at_own_size(m)
    kind = c.engine + (" channels_last" if c.layout == "channels_last" else "")
    kind += "" if c.workload == "stream" else f" {c.workload}"
    kind += " (overloaded)" if is_overloaded(m) else ""
    top1 = entry.best.top1 if entry and entry.best else None
    ms = functools.partial("{:.2f}".format)
    return [
        (m.model, m.model),
        (kind, kind),
        (c.precision + ("*" if m.cost_only else ""), c.precision),
        (str(c.batch), c.batch),
        (ms(1e3 * m.p50), m.p50),
        (ms(1e3 * m.interval[0]), m.interval[0]),
        (ms(1e3 * m.interval[1]), m.interval[1]),
        (ms(1e3 * m.p90), m.p90),
        (f"{m.images_per_second:.1f}", m.images_per_second),
        (size(m.memory), m.memory),
        (size(m.file), m.file),
        (f"{entry.macs / 1e9:.2f} G" if entry else "-", entry.macs if entry else None),
        (f"{100 * top1:.1f} %" if top1 else "-", top1),
    ]
