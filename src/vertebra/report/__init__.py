"""Rendering only: plain data in, one self-contained HTML page out."""

from vertebra.report.page import Page, Picture
from vertebra.report.plots import calibration_plot, line_plot
from vertebra.report.words import count, percent, shape, si

__all__ = [
    "Page",
    "Picture",
    "calibration_plot",
    "count",
    "line_plot",
    "percent",
    "shape",
    "si",
]
