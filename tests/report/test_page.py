"""The page as a browser reads it: what it would fetch, run or take for a tag."""

import base64
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from html_reader import Reader
from vertebra.report import (
    Page,
    Picture,
    Point,
    calibration_plot,
    gains_plot,
    line_plot,
    roofline_plot,
    scatter_plot,
    sortable,
)

HOSTILE = [
    "<script>alert(1)</script>",
    '" onload="alert(1)',
    "' onmouseover='alert(1)",
    "</pre></style></title><img src=https://example.org/x.png>",
    "&lt;b&gt; & &amp;",
    "{{ page.title }}{% for x in y %}",
    "javascript:alert(1)",
    "--><script>alert(1)</script><!--",
]


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(buffer, "PNG")
    return buffer.getvalue()


def full(name: str) -> Page:
    """A page with every kind of block, ``name`` wherever a text goes."""
    page = Page(title=name, lead=name)
    page.section(name, name)
    page.facts([(name, name), ("top-1", "99 %")])
    page.table([name, name], [[name, name], ["a", "1"]], text=1)
    page.matrix([name, "b"], [[3, 1], [0, 0]])
    page.sortable(sortable([name, "b"], [[(name, name), ("1", 1.0)], [("a", "a"), ("-", None)]]))
    points = [Point(name, 1.0, 2.0, 0.9, 1.1), Point("other", 3.0, 1.0)]
    page.plots(
        [
            scatter_plot(points, [name], name, name),
            roofline_plot(points, 4.0, 1.0, name, name),
            gains_plot({name: {name: 2.0, "b": 0.5}}, name),
        ]
    )
    page.plots(
        [plain_lines(), dots(), line_plot({name: ([1, 2], [3, 4]), "b": ([1], [2])}, name, name)]
    )
    page.gallery([Picture(png(), name, name)])
    page.text(name)
    page.code(name)
    return page


def plain_lines() -> str:
    series = {"training": ([1, 2, 3], [3.0, 2.0, 1.5]), "validation": ([1, 2, 3], [3.1, 2.5, 2.2])}
    return line_plot(series, "epoch", "loss")


def dots() -> str:
    return calibration_plot([(0.2, 0.1, 4), (0.9, 0.95, 40)])


PLOTS = {
    "lines": plain_lines,
    "point": lambda: line_plot({"a": ([1], [2.0])}, "epoch", "loss"),
    "no lines": lambda: line_plot({}, "epoch", "loss"),
    "calibration": dots,
    "no bins": lambda: calibration_plot([]),
}


# Escaping


def kinds_of(page: Page) -> set[tuple[str, tuple[str, ...]]]:
    """Which elements with which attributes; not how many, since a long label costs ticks."""
    return {(tag, tuple(attributes)) for tag, attributes in Reader(page.html()).elements}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_becomes_an_element(name: str) -> None:
    assert kinds_of(full(name)) == kinds_of(full("harmless"))


@pytest.mark.parametrize("name", HOSTILE)
def test_every_text_is_shown_as_it_was_given(name: str) -> None:
    reader = Reader(full(name).html())
    assert not reader.unbalanced
    assert not reader.open
    shown = [text.strip() for text in reader.texts].count(name)
    # title, h1, lead, section, intro, facts 2, columns 2, cells 2, matrix 2, gallery 2, text,
    # code; in the sortable table 2; and in the plots legend, axes and names 3 each.
    assert shown == 31
    assert [a["alt"] for tag, a in reader.elements if tag == "img"] == [name]


def test_mathematical_signs_in_plots_are_text() -> None:
    """Matplotlib takes dollars for TeX; a class or a folder may be called so."""
    svg = line_plot({"$5 and $6": ([1, 2], [1, 2]), r"$\bad$": ([1], [1])}, "$x", "_y")
    assert "$5 and $6" in "".join(ElementTree.fromstring(svg).itertext())


def test_a_name_with_an_underscore_in_front_is_in_the_legend() -> None:
    svg = line_plot({"_one": ([1, 2], [1, 2]), "two": ([1, 2], [2, 1])}, "x", "y")
    assert "_one" in "".join(ElementTree.fromstring(svg).itertext())


# Nothing from anywhere


FETCHING = {"src", "href", "xlink:href", "srcset", "data", "action", "poster", "background"}


@pytest.mark.parametrize("name", ["harmless", "https://example.org/class"])
def test_a_browser_fetches_nothing(name: str) -> None:
    html = full(name).html()
    for tag, attributes in Reader(html).elements:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base", "form"}
        assert not [key for key in attributes if key.startswith("on")]
        for key in FETCHING & set(attributes):
            assert re.match(r"data:image/png;base64,|#", attributes[key]), (tag, key)
        assert attributes.get("http-equiv", "").lower() != "refresh"
    assert "@import" not in html
    assert "@font-face" not in html
    assert not re.search(r"url\((?![\"']?(#|data:))", html)


def test_no_address_is_even_mentioned_but_the_names_of_xml() -> None:
    html = full("harmless").html()
    without = re.sub(r'xmlns(:\w+)?="[^"]*"', "", html)
    assert not re.findall(r"https?://[^\s\"'<]*", without)


def test_the_page_forbids_itself_to_fetch() -> None:
    metas = [a for tag, a in Reader(full("x").html()).elements if tag == "meta"]
    (policy,) = [m["content"] for m in metas if m.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy


def test_pictures_are_in_the_page() -> None:
    reader = Reader(full("x").html())
    (source,) = [a["src"] for tag, a in reader.elements if tag == "img"]
    kind, _, content = source.partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content, validate=True) == png()


# Form


def test_the_page_is_utf8_on_disk_and_says_so(tmp_path: Path) -> None:
    page = full("猫 Ünïcode")
    page.write(tmp_path / "report.html")
    content = (tmp_path / "report.html").read_bytes()
    assert content.decode("utf-8") == page.html()
    assert content.startswith(b"<!doctype html>")
    assert b'charset="utf-8"' in content[:1024], "where browsers look for it"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_equal_input_gives_equal_bytes() -> None:
    assert full("a").html() == full("a").html()
    for draw in PLOTS.values():
        assert draw() == draw()


def test_two_plots_of_a_page_do_not_share_identifiers() -> None:
    """The browser takes the first of two equal ids: the second plot's clip would be the first's."""
    page = Page("t")
    page.plots([draw() for draw in PLOTS.values()])
    ids = re.findall(r'<(?:clipPath|path|g|defs)[^>]* id="([^"]+)"', page.html())
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', page.html()))
    bodies: dict[str, set[str]] = {}
    for svg in page.sections[0]["blocks"][0]["svgs"]:
        root = ElementTree.fromstring(svg)
        for element in root.iter():
            name = element.get("id")
            if name in used:
                bodies.setdefault(name or "", set()).add(ElementTree.tostring(element, "unicode"))
    assert used <= set(ids)
    assert not [name for name, texts in bodies.items() if len(texts) > 1]


def test_code_stands_as_it_is() -> None:
    page = Page("t")
    page.code("model:\n  name: x\n\n  deep:   spaced\n")
    text = Reader(page.html()).texts
    assert "model:\n  name: x\n\n  deep:   spaced" in text


def test_blocks_stand_in_the_order_in_which_they_came() -> None:
    page = Page("t")
    page.text("first")
    page.section("S")
    page.text("second")
    page.code("third")
    page.text("fourth")
    words = [text.strip() for text in Reader(page.html()).texts]
    order = [words.index(word) for word in ("first", "S", "second", "third", "fourth")]
    assert order == sorted(order)


def test_the_first_columns_are_words_and_the_others_numbers() -> None:
    page = Page("t")
    page.table(["a", "b", "c"], [["x", "y", "1"]], text=2)
    cells = [a.get("class") for tag, a in Reader(page.html()).elements if tag in ("th", "td")]
    assert cells == ["words", "words", None] * 2


def test_a_matrix_is_darker_where_the_share_is_larger() -> None:
    page = Page("t")
    page.matrix(["a", "b"], [[90, 10], [0, 7]])
    styles = [a.get("style") for tag, a in Reader(page.html()).elements if tag == "td"]
    heat = [float(re.findall(r"([\d.]+)\)", style)[0]) if style else 0.0 for style in styles]
    assert heat[3] > heat[0] > heat[1] > heat[2] == 0


def test_an_empty_page() -> None:
    reader = Reader(Page("t").html())
    assert not reader.unbalanced
    assert not reader.open


# Plots


def inks(svg: str) -> set[str]:
    return set(re.findall(r"(?:fill|stroke|color): ?([^;\"]+)", svg))


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_is_xml_without_a_background(name: str) -> None:
    svg = PLOTS[name]()
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("viewBox")
    assert "currentColor" in inks(svg)
    fixed = {ink for ink in inks(svg) if re.match(r"#(fff|000)|white|black", ink)}
    assert not fixed, "invisible on a page of the same colour"
    # Text without a fill is black in SVG, on a dark page too.
    texts = list(root.iter("{http://www.w3.org/2000/svg}text"))
    assert texts
    for element in texts:
        assert "currentColor" in (element.get("style") or "") + (element.get("fill") or "")
    assert "<metadata" not in svg
    assert "Date" not in svg


def test_a_plot_has_no_filled_rectangle_behind_it() -> None:
    for draw in PLOTS.values():
        root = ElementTree.fromstring(draw())
        for group in root.iter("{http://www.w3.org/2000/svg}g"):
            if re.match(r"patch_[12]$", group.get("id") or ""):
                for path in group:
                    style = path.get("style") or ""
                    assert "fill: none" in style or "opacity: 0" in style or "stroke" in style


def points(svg: str, colour: str) -> list[tuple[float, float]]:
    """The corners of the first line of a colour, in the picture's units, y downwards."""
    for path in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}path"):
        if f"stroke: {colour}" in (path.get("style") or ""):
            numbers = re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", path.get("d") or "")
            return [(float(x), float(y)) for x, y in numbers]
    raise AssertionError(f"no line of {colour}")


def test_lines_go_where_their_numbers_are() -> None:
    svg = line_plot({"a": ([0, 1, 2], [0, 1, 4])}, "x", "y")
    (x0, y0), (x1, y1), (x2, y2) = points(svg, "#3a86d0")
    assert (x1 - x0) == pytest.approx(x2 - x1, rel=1e-3)
    assert (y0 - y1) * 3 == pytest.approx(y1 - y2, rel=1e-3)
    assert y2 < y1 < y0


def test_all_lines_are_drawn() -> None:
    """Anatomy has more stages than there are colours: none may vanish without a word."""
    series = {f"line {number}": ([0, 1], [number, number + 1]) for number in range(6)}
    text = "".join(ElementTree.fromstring(line_plot(series, "x", "y")).itertext())
    assert [name for name in series if name not in text] == []


def test_plots_leave_matplotlib_as_it_was() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    plain_lines()
    dots()
    assert dict(mpl.rcParams) == before
