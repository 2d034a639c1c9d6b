"""The command, run in this process."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout

from vertebra.cli import main

# A run that takes a second.
TINY = (
    *("--epochs", "1", "--set", "batch_size=8", "--set", "image_size=16"),
    *("--set", "warmup=0"),
)


def run(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(arguments)
    return code, out.getvalue(), err.getvalue()
