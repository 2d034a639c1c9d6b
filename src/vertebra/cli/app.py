"""The ``vertebra`` command: its verbs, and how errors leave it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from vertebra import __version__
from vertebra.cli import compare, data, evaluate, models, output, predict, recipes, show, train
from vertebra.core import STOPPED, VertebraError

app = typer.Typer(
    name="vertebra",
    help="Pick, train, debug and ship a vision backbone, with evidence for every decision.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for verb in (models, show, compare, data, recipes, train, evaluate, predict):
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

    0 done, 1 a check failed, 2 bad usage or input, 130 stopped by Ctrl-C.
    """
    output.never_fail_on_a_character()
    try:
        given = list(sys.argv[1:] if arguments is None else arguments)
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
    return code if isinstance(code, int) else 0
