"""One HTML page that needs nothing but itself: no script, no font and no request to anywhere."""

from __future__ import annotations

import base64
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vertebra.core import replace_file
from vertebra.report.frames import Drawn, Frame
from vertebra.report.grids import Grid
from vertebra.report.sortable import Sortable
from vertebra.report.tree import Row


@dataclass(frozen=True)
class Picture:
    """A small PNG with a caption and a line of detail."""

    png: bytes
    caption: str
    detail: str

    @property
    def source(self) -> str:
        """The picture as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


@dataclass
class Page:
    """Sections of blocks, in the order in which they are added.

    Every text given is escaped: a class may be called ``<script>``.
    """

    title: str
    lead: str = ""
    sections: list[dict[str, Any]] = field(default_factory=list)
    pictures: dict[Drawn, str] = field(default_factory=dict)

    def section(self, title: str, intro: str = "") -> None:
        """Begin a section; what is added next goes into it."""
        self.sections.append({"title": title, "intro": intro, "blocks": []})

    def facts(self, rows: Sequence[tuple[str, str]]) -> None:
        """Figures to be read at a glance: (what, value)."""
        self._add("facts", rows=list(rows))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], text: int = 1) -> None:
        """A table whose first ``text`` columns are words, the others numbers, set to the right."""
        self._add("table", columns=list(columns), rows=[list(row) for row in rows], text=text)

    def sortable(self, table: Sortable) -> None:
        """A table that a click on a column sorts."""
        number = sum(len(section["blocks"]) for section in self.sections)
        self._add("sortable", table=table, id=f"sortable{number}")

    def matrix(self, names: Sequence[str], counts: Sequence[Sequence[int]]) -> None:
        """A square of counts, rows and columns by the same names; darker is a larger share."""
        rows = [
            (name, [(value, value / max(sum(row), 1)) for value in row])
            for name, row in zip(names, counts, strict=True)
        ]
        self._add("matrix", names=list(names), rows=rows)

    def plots(self, svgs: Sequence[str]) -> None:
        """Plots side by side where there is room, as the functions of this room draw them."""
        self._add("plots", svgs=list(svgs))

    def gallery(self, pictures: Sequence[Picture]) -> None:
        """Pictures with their captions."""
        self._add("gallery", pictures=list(pictures))

    def tree(self, name: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Rows that unfold, ``columns`` for the cells of each behind its ``name``."""
        self._add("tree", name=name, columns=list(columns), rows=list(rows))

    def frames(self, frames: Sequence[Frame], large: bool = False) -> None:
        """Pictures with rectangles on them; frames with the same picture hold it once."""
        for frame in frames:
            if frame.picture:
                self.pictures.setdefault(frame.picture, f"picture{len(self.pictures)}")
        self._add("frames", frames=list(frames), large=large)

    def grids(self, grids: Sequence[Grid]) -> None:
        """Small matrices side by side where there is room; wide ones scroll in their box."""
        self._add("grids", grids=list(grids))

    def text(self, text: str) -> None:
        """A paragraph."""
        self._add("text", text=text)

    def code(self, text: str) -> None:
        """Text to be copied, as it stands."""
        self._add("code", text=text.strip("\n"))

    def html(self) -> str:
        """The whole page."""
        return str(_template().render(page=self))

    def write(self, path: Path) -> None:
        """Write the page to ``path``, atomically."""
        replace_file(path, self.html())

    def _add(self, kind: str, **content: Any) -> None:
        if not self.sections:
            self.section("")
        self.sections[-1]["blocks"].append({"kind": kind, **content})


@functools.cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("vertebra.report", "templates")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")
