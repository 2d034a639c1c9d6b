"""The ``vertebra`` command: its verbs, and how errors leave it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import typer

from vertebra import __version__
from vertebra.cli import (
    bench,
    choose,
    compare,
    data,
    evaluate,
    evidence,
    models,
    output,
    predict,
    recipes,
    show,
    train,
)
from vertebra.core import STOPPED, Notice, VertebraError

app = typer.Typer(
    name="vertebra",
    help="Pick, train, debug and ship a vision backbone, with evidence for every decision.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for verb in (
    *(models, show, compare, data, recipes, train, evaluate, predict, bench, evidence, choose),
):
    app.command(verb.__name__.rpartition(".")[2])(verb.command)


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        output.document_text(__version__)
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 done, 1 a check failed, 2 bad usage or input, 130 stopped by Ctrl-C or SIGTERM.
    """
    output.never_fail_on_a_character()
    given = list(sys.argv[1:] if arguments is None else arguments)
    quiet = not {"-q", "--quiet"}.isdisjoint(given)
    try:
        with _stopped_by_sigterm(), _notices_in_one_line(quiet):
            code = app(given or ["--help"], standalone_mode=False)
    except VertebraError as error:
        say = output.notice if error.exit_code == STOPPED else output.error
        say(str(error))
        return error.exit_code
    except typer.TyperException as error:
        message = error.format_message()
        if message:  # empty where the help text was printed instead
            output.error(message.replace("\n", " "))
        return 2
    except typer.Exit as request:
        return request.exit_code
    except (KeyboardInterrupt, typer.Abort):
        output.notice("stopped")
        return STOPPED
    except BrokenPipeError:
        # The reader (head, less) has seen enough; nothing more can be printed, also not at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # A name too long, a folder closed to this user: nothing that a traceback would explain.
        output.error(f"{error.filename or 'input or output'}: {error.strerror or error}")
        return 2
    if code == STOPPED:  # typer's answer to Ctrl-C
        output.notice("stopped")
    return code if isinstance(code, int) else 0


@contextlib.contextmanager
def _notices_in_one_line(quiet: bool) -> Iterator[None]:
    """Show what the library notices without the code that noticed it; other warnings as ever."""
    with warnings.catch_warnings():
        show: Callable[..., None] = warnings.showwarning

        def shown(
            message: Warning | str, category: type[Warning], *where: Any, **more: Any
        ) -> None:
            if not issubclass(category, Notice):
                show(message, category, *where, **more)
            elif not quiet:
                output.notice(str(message))

        warnings.showwarning = shown
        yield


@contextlib.contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Let a scheduler's SIGTERM end like Ctrl-C, also before training listens to it itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
