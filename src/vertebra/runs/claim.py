"""One process at a time trains into a run folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from vertebra.core import VertebraError

try:
    import fcntl
except ImportError:  # Windows: nothing is claimed there
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process; it is free again when the process ends, however it ends.

    A record lock, which belongs to the process and not to the open file: a data worker that
    outlives a killed run for some seconds does not hold it.

    Raises:
        VertebraError: another process holds it, or the folder cannot be written to.
    """
    if fcntl is None:
        yield
        return
    try:
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise VertebraError(f"cannot write to {folder}: {error.strerror}") from None
    try:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise VertebraError(f"another process is training in {folder}") from None
        except OSError:
            pass  # a file system without locks: go unguarded, as everywhere else on it
        yield
    finally:
        os.close(handle)
