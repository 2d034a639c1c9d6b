"""How commands print: answers on stdout, notices on stderr, JSON alone where it is asked for."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No notices and no progress.")]

# Where there is no terminal, as in a pipe: wider than any table, so that nothing is cut.
_WIDTH = 1000


@functools.cache
def console(stderr: bool = False) -> Console:
    """The console that commands print on; rich follows NO_COLOR by itself."""
    from rich.console import Console as NewConsole

    class OurConsole(NewConsole):
        def on_broken_pipe(self) -> None:
            """Rich's own ends the process, be it in the middle of an epoch."""
            if not self.stderr:
                raise BrokenPipeError
            self.quiet = True
            _silence_stderr()

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDTH
    return OurConsole(stderr=stderr, width=width, highlight=False, soft_wrap=False)


def never_fail_on_a_character() -> None:
    """Print what the terminal's encoding lacks as an escape: a thin space must end no command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _silence_stderr() -> None:
    """Nobody reads it any more; the work goes on without a word."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _to_stderr(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except BrokenPipeError:
        _silence_stderr()


def error(message: str) -> None:
    """One line on stderr."""
    _to_stderr(f"error: {message}\n")


def notice(message: str) -> None:
    """One line on stderr that the user should know of."""
    _to_stderr(f"{message}\n")


def document_text(text: str) -> None:
    """One line on stdout as it is."""
    sys.stdout.write(f"{text}\n")


def document(content: Any) -> None:
    """The JSON document of ``--json``."""
    document_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))


_SHORT = 14  # characters that are left of a long name at least


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], text: int = 1) -> None:
    """A table whose first ``text`` columns are words, the others numbers, set to the right."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(columns):
        words = place < text
        longest = max((len(row[place]) for row in rows), default=0)
        drawn.add_column(
            name,
            justify="left" if words else "right",
            no_wrap=True,
            overflow="ellipsis",
            # A name may be shortened, with a mark; a number never.
            min_width=min(longest, _SHORT) if words else max(longest, len(name)),
        )
    for row in rows:
        # As Text, since a name may hold square brackets, which rich takes for markup.
        drawn.add_row(*(Text(cell) for cell in row))
    console().print(drawn, crop=False, soft_wrap=False)


@contextlib.contextmanager
def answers_only() -> Iterator[None]:
    """While a user's own code runs: what it prints goes to stderr, where no answer is."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def line(text: str = "") -> None:
    """One line of the answer."""
    from rich.text import Text

    console().print(Text(text), soft_wrap=True)
