"""Plots of many networks at once: accuracy over time, the roofline, gains by engine."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vertebra.report.plots import COLOURS, INK, figure, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Left, bottom, right, top, in pixels.
Bbox = tuple[float, float, float, float]
# Pixels that a letter of a name is wide, a line of it high, and both away from the dot.
_LETTER, _LINE, _GAP = 5.5, 9.0, 4.0


@dataclass(frozen=True)
class Point:
    """A dot with a name; ``low`` and ``high`` bound x where it was measured."""

    name: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None


def scatter_plot(
    points: Sequence[Point], named: Sequence[str], xlabel: str, ylabel: str, line: bool = True
) -> str:
    """Dots over a logarithmic x axis, with intervals; those ``named`` stand out and are written.

    ``line`` joins the named ones, as the front that they are.
    """
    drawn, axes = figure(xlabel, ylabel)
    axes.set_xscale("log")
    chosen = set(named)
    front = sorted((p for p in points if p.name in chosen), key=lambda p: p.x)
    rest = [p for p in points if p.name not in chosen]
    axes.scatter([p.x for p in rest], [p.y for p in rest], s=16, color=COLOURS[0], alpha=0.6)
    if line and len(front) > 1:
        axes.plot([p.x for p in front], [p.y for p in front], color=COLOURS[1], linewidth=1)
    axes.scatter([p.x for p in front], [p.y for p in front], s=22, color=COLOURS[1], zorder=3)
    for p in points:
        if p.low is not None and p.high is not None:
            axes.plot([p.low, p.high], [p.y, p.y], color=INK, linewidth=0.8, alpha=0.6)
    _plain_ticks(axes)
    _write_names(axes, front)
    return svg(drawn)


def roofline_plot(
    points: Sequence[Point], peak: float, bandwidth: float, xlabel: str, ylabel: str
) -> str:
    """Achieved rate over intensity, under the roof of ``peak`` and ``bandwidth`` times x."""
    drawn, axes = figure(xlabel, ylabel)
    axes.set_xscale("log")
    axes.set_yscale("log")
    xs = [p.x for p in points] or [1.0]
    ridge = peak / bandwidth
    left, right = min(min(xs), ridge) / 2, max(max(xs), ridge) * 2
    axes.plot([left, ridge, right], [left * bandwidth, peak, peak], color=COLOURS[1], linewidth=1.6)
    axes.scatter([p.x for p in points], [p.y for p in points], s=16, color=COLOURS[0], alpha=0.75)
    ends = sorted(points, key=lambda p: p.y / min(peak, bandwidth * p.x))
    _write_names(axes, [*ends[:3], *ends[-3:]])
    return svg(drawn)


def gains_plot(rows: Mapping[str, Mapping[str, float]], xlabel: str) -> str:
    """A row a network, a dot a series: how many times faster than the first series."""
    names = list(rows)
    series = list(dict.fromkeys(name for row in rows.values() for name in row))
    drawn, axes = figure(xlabel, "", height=max(2.4, 0.6 + 0.2 * len(names)))
    for place, one in enumerate(series):
        ys = [len(names) - 1 - names.index(name) for name in names if one in rows[name]]
        xs = [rows[name][one] for name in names if one in rows[name]]
        colour, marker = COLOURS[place % len(COLOURS)], "os^D"[place // len(COLOURS) % 4]
        axes.scatter(xs, ys, s=20, color=colour, marker=marker, label=one)
    axes.axvline(1, color=INK, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(names)), list(reversed(names)), color=INK, fontsize=7)
    for text in axes.get_yticklabels():
        text.set_parse_math(False)
    legend = axes.legend(
        frameon=False,
        labelcolor=INK,
        fontsize=8,
        ncols=2,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return svg(drawn)


def _plain_ticks(axes: Axes) -> None:
    """10 and 200 on a logarithmic axis, not powers of ten with little room for them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axes.get_xlim()
    subs = (1.0,) if math.log10(high / low) > 2.5 else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _write_names(axes: Axes, points: Sequence[Point]) -> None:
    """Beside their dots, each at a side where it covers no other name, inside the axes if there is
    one; at none, if all sides are taken.
    """
    taken: list[Bbox] = []
    for p in dict.fromkeys(points):
        x, y = axes.transData.transform((p.x, p.y))
        free = [
            side
            for side in _sides(x, y, p.name)
            if not any(_overlap(side[2], other) for other in taken)
        ]
        if free:
            right, up, box = max(free, key=lambda side: _is_inside(side[2], axes))
            taken.append(box)
            _write(axes, p, right, up)


def _sides(x: float, y: float, name: str) -> Iterator[tuple[bool, bool, Bbox]]:
    """Where a name may stand beside the dot at a pixel: right of it or left, above or below."""
    width = _LETTER * len(name)
    for right in (True, False):
        for up in (False, True):
            left = x + _GAP if right else x - _GAP - width
            low = y + _GAP if up else y - _GAP - _LINE
            yield right, up, (left, low, left + width, low + _LINE)


def _overlap(one: Bbox, other: Bbox) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _is_inside(box: Bbox, axes: Axes) -> bool:
    left, low, right, high = box
    across = axes.bbox.x0 <= left and right <= axes.bbox.x1
    return bool(across and axes.bbox.y0 <= low and high <= axes.bbox.y1)


def _write(axes: Axes, p: Point, right: bool, up: bool) -> None:
    axes.annotate(
        p.name,
        (p.x, p.y),
        xytext=(4 if right else -4, 3 if up else -9),
        textcoords="offset points",
        ha="left" if right else "right",
        fontsize=7,
        color=INK,
        parse_math=False,
    )
