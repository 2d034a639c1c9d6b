"""Plots as SVG that takes its ink from the page, so that they fit a light and a dark one."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Readable on white and on near-black.
COLOURS = ("#3a86d0", "#e0802f", "#2f9e73", "#c2549d")
# Stands for the page's own colour until the SVG is finished.
INK = "#010203"
# Largest value over median above which a linear axis shows one spike and nothing else.
_STEEP = 20
_SIZE = (4.6, 3.1)  # inches; drawn at about the size at which a phone shows it


def line_plot(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]], xlabel: str, ylabel: str
) -> str:
    """Lines by name: (x, y) each, x in whole numbers; one point is drawn as a dot.

    The y axis is logarithmic where one value would flatten all others.
    """
    from matplotlib.ticker import MaxNLocator

    drawn, axes = figure(xlabel, ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # there is no epoch 1.25
    axes.ticklabel_format(axis="y", useOffset=False)
    for colour, (x, y) in zip(itertools.cycle(COLOURS), series.values(), strict=False):
        marker = "o" if len(x) < 2 else None
        axes.plot(x, y, color=colour, linewidth=1.8, marker=marker)
    values = sorted(value for _, y in series.values() for value in y)
    if values and values[0] > 0 and values[-1] > _STEEP * values[len(values) // 2]:
        axes.set_yscale("log")
    if len(series) > 1:
        # Named by hand: matplotlib leaves out what begins with an underscore.
        legend = axes.legend(axes.get_lines(), list(series), frameon=False, labelcolor=INK)
        for text in legend.get_texts():
            text.set_parse_math(False)
    return svg(drawn)


def calibration_plot(bins: Sequence[tuple[float, float, int]]) -> str:
    """Accuracy over confidence: a dot for each bin of (confidence, accuracy, images)."""
    drawn, axes = figure("confidence", "accuracy")
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=":")
    total = sum(images for _, _, images in bins) or 1
    confidence, accuracy = [b[0] for b in bins], [b[1] for b in bins]
    areas = [12 + 260 * images / total for _, _, images in bins]
    axes.scatter(confidence, accuracy, s=areas, color=COLOURS[0], alpha=0.85)
    axes.set_xlim(-0.02, 1.04)
    axes.set_ylim(-0.02, 1.06)
    return svg(drawn)


def figure(xlabel: str, ylabel: str, height: float = _SIZE[1]) -> tuple[Figure, Axes]:
    """An empty plot in the page's ink; ``height`` in inches."""
    # Imported here: matplotlib takes half a second, and most commands draw nothing.
    from matplotlib.figure import Figure as NewFigure

    drawn = NewFigure(figsize=(_SIZE[0], height), layout="constrained")
    axes = drawn.add_subplot()
    # A dollar sign in a name is no formula.
    axes.set_xlabel(xlabel, color=INK, parse_math=False)
    axes.set_ylabel(ylabel, color=INK, parse_math=False)
    axes.tick_params(which="both", colors=INK)
    axes.grid(visible=True, color=INK, alpha=0.12, linewidth=0.8)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)
    axes.set_facecolor("none")
    return drawn, axes


def svg(drawn: Figure) -> str:
    """The figure as an inline SVG element without a background."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    # Text stays text, sharp and searchable; a fixed salt and no date make equal figures equal.
    with rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "vertebra", "font.family": "sans-serif"}
    ):
        drawn.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    # Matplotlib's metadata names addresses on the web; the page shall not even mention one.
    return re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
