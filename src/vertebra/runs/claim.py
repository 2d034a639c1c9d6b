"""One training at a time in a run folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from vertebra.core import VertebraError

LOCK = ".lock"
# A record lock belongs to its process, which could take it twice.
_here: set[Path] = set()


@contextlib.contextmanager
def claimed(folder: Path, tell: Callable[[str], None] = lambda _text: None) -> Iterator[None]:
    """Hold a run folder; it is free again when the process ends, however it ends.

    A record lock, which belongs to the process and not to the open file: a data worker that
    outlives a killed run for some seconds does not hold it. Where the file system knows no locks,
    ``tell`` is told that nothing guards the folder.

    Raises:
        VertebraError: another training holds it, or the folder cannot be written to.
    """
    place = folder.resolve()
    if place in _here:
        raise _held(folder)
    try:
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise VertebraError(f"cannot write to {folder}: {error.strerror}") from None
    try:
        _lock(handle, folder, tell)
        _here.add(place)
        yield
    finally:
        _here.discard(place)
        os.close(handle)


def _lock(handle: int, folder: Path, tell: Callable[[str], None]) -> None:
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise _held(folder) from None
        tell(f"{folder} cannot be locked ({error.strerror}): start no other training in it")


def _held(folder: Path) -> VertebraError:
    return VertebraError(f"another process is training in {folder}")
