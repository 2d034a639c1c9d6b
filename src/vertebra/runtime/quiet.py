"""Keeping libraries from printing on what belongs to the caller."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def stdout_shut() -> Iterator[None]:
    """Nothing reaches standard output for the while, whether Python or a library of C's prints it.

    A failed export prints a whole graph there and a quantiser its progress, where a command may be
    writing one JSON document. Another thread's output is lost too.
    """
    _flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        _flush()
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _flush() -> None:
    """What was printed goes where standard output leads now."""
    sys.stdout.flush()
    if sys.platform != "win32":
        ctypes.CDLL(None).fflush(None)
