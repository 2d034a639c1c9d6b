"""Rendering only: plain data in, one self-contained HTML page out."""

from vertebra.report.colours import heat_picture, signed_picture
from vertebra.report.frames import Box, Frame, Scale, data_uri
from vertebra.report.grids import Grid, fixed
from vertebra.report.page import Page, Picture
from vertebra.report.plots import calibration_plot, line_plot
from vertebra.report.scatter import Point, gains_plot, roofline_plot, scatter_plot
from vertebra.report.sortable import Sortable, sortable
from vertebra.report.tree import Cell, Row
from vertebra.report.words import count, extents, percent, plural, shape, si, size

__all__ = [
    "Box",
    "Cell",
    "Frame",
    "Grid",
    "Page",
    "Picture",
    "Point",
    "Row",
    "Scale",
    "Sortable",
    "calibration_plot",
    "count",
    "data_uri",
    "extents",
    "fixed",
    "gains_plot",
    "heat_picture",
    "line_plot",
    "percent",
    "plural",
    "roofline_plot",
    "scatter_plot",
    "shape",
    "si",
    "signed_picture",
    "size",
    "sortable",
]
