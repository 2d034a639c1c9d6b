"""How commands print: answers on stdout, notices on stderr, JSON alone where it is asked for."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No notices and no progress.")]

# Where the terminal's width is not known, as in a pipe: wide enough for every table here.
_WIDTH = 140


@functools.cache
def console(stderr: bool = False) -> Console:
    """The console that commands print on; rich follows NO_COLOR by itself."""
    from rich.console import Console as NewConsole

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDTH
    return NewConsole(stderr=stderr, width=width, highlight=False, soft_wrap=False)


def error(message: str) -> None:
    """One line on stderr."""
    sys.stderr.write(f"error: {message}\n")


def notice(message: str) -> None:
    """One line on stderr that the user should know of."""
    sys.stderr.write(f"{message}\n")


def document_text(text: str) -> None:
    """One line on stdout as it is."""
    sys.stdout.write(f"{text}\n")


def document(content: Any) -> None:
    """The JSON document of ``--json``."""
    document_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], text: int = 1) -> None:
    """A table whose first ``text`` columns are words, the others numbers, set to the right."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(columns):
        words = place < text
        drawn.add_column(
            name,
            justify="left" if words else "right",
            no_wrap=True,
            overflow="ellipsis" if words else "fold",
        )
    for row in rows:
        # As Text, since a name may hold square brackets, which rich takes for markup.
        drawn.add_row(*(Text(cell) for cell in row))
    console().print(drawn)


def line(text: str = "") -> None:
    """One line of the answer."""
    from rich.text import Text

    console().print(Text(text), soft_wrap=True)
