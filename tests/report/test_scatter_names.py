"""Where the names of dots are written."""

from __future__ import annotations

from xml.etree import ElementTree

from vertebra.report import Point, scatter_plot


def texts(svg: str) -> list[str]:
    return [(element.text or "").strip() for element in ElementTree.fromstring(svg).iter()]


def test_names_of_near_dots_are_written_on_different_sides() -> None:
    near = [Point(f"network_{i}", 10.0 * 1.02**i, 70 + 0.1 * i) for i in range(4)]
    far = [Point("left_end", 1.0, 60.0), Point("right_end", 100.0, 90.0)]
    named = [p.name for p in (*near, *far)]
    written = texts(scatter_plot([*near, *far], named, "ms", "%"))
    assert [written.count(name) for name in named] == [1] * 6


def test_where_there_is_no_room_some_names_are_left_out() -> None:
    heap = [Point(f"network_{i}", 10.0, 70.0 + 1e-3 * i) for i in range(9)]
    far = [Point("left_end", 1.0, 60.0), Point("right_end", 100.0, 90.0)]
    named = [p.name for p in (*heap, *far)]
    written = texts(scatter_plot([*heap, *far], named, "ms", "%"))
    assert sum(name in written for name in named) == 4 + 2
