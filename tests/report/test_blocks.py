"""Trees, frames and grids: what they say, where they draw, and that names stay text."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from test_page import HOSTILE

from html_reader import Reader
from vertebra.report import (
    Box,
    Cell,
    Frame,
    Grid,
    Page,
    Row,
    Scale,
    fixed,
    heat_picture,
    signed_picture,
)
from vertebra.report.plots import COLOURS


def pixels(source: str) -> np.ndarray:
    encoded = base64.b64decode(source.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(encoded)))


def full(name: str) -> Page:
    """Every block of this file, ``name`` wherever a text goes."""
    page = Page(title="t")
    leaf = Row(name, name, (Cell(name, 0.25), Cell()), prefix=name, quiet=True)
    page.tree(name, (name, name), [Row(name, name, (Cell(name), Cell()), (leaf, leaf)), leaf])
    source = signed_picture(np.eye(3))
    page.frames(
        [
            Frame(name, name, 3, 3, source, (Box(0, 0, 1, 1),), scale=Scale(name, name, True)),
            Frame(name, name, 3, 3),
        ]
    )
    page.grids([Grid(name, [[1, -2], [0, 3]], name, (name, name), (name, name))])
    return page


@pytest.mark.parametrize("name", ["plain", *HOSTILE])
def test_names_are_text(name: str) -> None:
    plain, reader = Reader(full("plain").html()), Reader(full(name).html())
    assert not reader.unbalanced
    assert not reader.open
    assert [tag for tag, _ in reader.elements] == [tag for tag, _ in plain.elements]
    allowed = {attribute for _, attributes in plain.elements for attribute in attributes}
    assert {attribute for _, attributes in reader.elements for attribute in attributes} <= allowed
    said = "".join(reader.texts) + "".join(a.get("aria-label", "") for _, a in reader.elements)
    times = "".join(plain.texts) + "".join(a.get("aria-label", "") for _, a in plain.elements)
    assert said.count(name) == times.count("plain")


@pytest.mark.parametrize(
    ("share", "width", "words"),
    [(0.25, "25%", "25.0 %"), (1e-6, "0.0001%", "<0.1 %"), (0, "0%", "0.0 %"), (1, "100%", "100")],
)
def test_a_bar_is_as_long_as_its_share(share: float, width: str, words: str) -> None:
    page = Page("t")
    page.tree("layer", ("params",), [Row("a", "", (Cell("5", share),))])
    reader = Reader(page.html())
    (bar,) = [a["style"] for tag, a in reader.elements if a.get("style", "").startswith("--s")]
    assert bar == f"--s:{width}"
    assert words in "".join(reader.texts)


def test_a_cell_without_a_share_has_no_bar() -> None:
    page = Page("t")
    page.tree("layer", ("params",), [Row("a", "", (Cell("5"),))])
    assert "--s:" not in "".join(a.get("style", "") for _, a in Reader(page.html()).elements)


@pytest.mark.parametrize(
    ("box", "within"),
    [
        (Box(2, 1, 3, 2), Box(2, 1, 3, 2)),
        (Box(-5, -4, 8, 30), Box(0, 0, 3, 6)),
        (Box(7, 2, 9, 1), Box(7, 2, 3, 1)),
        (Box(-9, 0, 3, 6), Box(0, 0, 0, 6)),
        (Box(40, 40, 3, 3), Box(10, 6, 0, 0)),
    ],
)
def test_a_box_ends_at_the_border(box: Box, within: Box) -> None:
    assert box.within(10, 6) == within


def test_a_frame_shades_what_lies_outside_of_its_box() -> None:
    page = Page("t")
    page.frames([Frame("a", "b", 10, 6, None, (Box(2, 1, 3, 2),))])
    elements = Reader(page.html()).elements
    (shade,) = [a["d"] for tag, a in elements if tag == "path"]
    assert shade == "M0 0H10V6H0zM2 1h3v2h-3z"
    (mark,) = [a for tag, a in elements if tag == "rect" and a["class"] == "mark"]
    assert [float(mark[key]) for key in ("x", "y", "width", "height")] == [2, 1, 3, 2]
    (view,) = [a["viewbox"] for tag, a in elements if tag == "svg"]
    assert view == "0 0 10 6"


def test_a_picture_is_kept_once() -> None:
    source = heat_picture(np.eye(2))
    page = Page("t")
    page.frames([Frame("a", "", 2, 2, source), Frame("b", "", 2, 2, source)])
    page.frames([Frame("c", "", 2, 2, source)])
    html = page.html()
    assert html.count(source) == 1
    uses = [a["href"] for tag, a in Reader(html).elements if tag == "use"]
    assert len(uses) == 3
    assert len(set(uses)) == 1


def test_colours_are_clear_at_zero() -> None:
    rgb = [tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in COLOURS]
    shown = pixels(signed_picture(np.array([[0.0, 2.0], [-4.0, 1.0]])))
    assert shown[..., 3].tolist() == [[0, 128], [255, 64]]
    assert tuple(shown[1, 0, :3]) == rgb[0]
    assert tuple(shown[0, 1, :3]) == rgb[1]
    assert pixels(heat_picture(np.array([[0.0, 0.5, 1.0]])))[..., 3].tolist() == [[0, 128, 255]]
    assert not pixels(signed_picture(np.zeros((2, 2))))[..., 3].any()


def test_the_style_sheet_has_the_colours_of_the_pictures() -> None:
    html = Page("t").html()
    for name, colour in (("minus", COLOURS[0]), ("plus", COLOURS[1])):
        (numbers,) = re.findall(rf"--{name}: (\d+), (\d+), (\d+);", html)
        assert "#" + "".join(f"{int(number):02x}" for number in numbers) == colour


def test_a_grid_colours_by_sign_and_size() -> None:
    page = Page("t")
    page.grids([Grid("g", [[1.0, -2.0], [0.0, 0.5]], outside=[[False, False], [True, False]])])
    cells = [a for tag, a in Reader(page.html()).elements if tag == "td"]
    assert [a["class"].split() for a in cells] == [["plus"], ["minus"], ["out"], ["plus"]]
    strengths = [float(a["style"].removeprefix("--a:")) for a in cells]
    assert strengths == [0.31, 0.62, 0, 0.15]


@pytest.mark.parametrize(
    ("value", "largest", "digits", "text"),
    [
        (0.1234, 12.3, 3, "0.1"),
        (-1.005, 1.2, 3, "\u22121.00"),
        (-0.0001, 1.2, 3, "0.00"),
        (0.0432, 0.0432, 3, "0.0432"),
        (1234.5, 2000, 3, "1234"),
        (1.23e-8, 2e-8, 3, "1.23e\u221208"),
        (0, 0, 3, "0.00"),
        (0.5, 1, 6, "0.50000"),
        (float("nan"), 1, 3, "nan"),
    ],
)
def test_numbers_of_a_grid_have_the_same_decimals(
    value: float, largest: float, digits: int, text: str
) -> None:
    assert fixed(value, largest, digits) == text
