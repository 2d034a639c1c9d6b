"""A damaged store is kept aside, never overwritten."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from vertebra.core import VertebraError, sync_folder
from vertebra.evidence.tables import PREFIX

# Files that SQLite has beside a database; they hold rows, too, and belong to it.
_BESIDE = ("-wal", "-shm", "-journal")
# In seconds: longer than a writer waits for its turn.
_PATIENCE = 60
_DATABASES = (".sqlite", ".sqlite3", ".db")

Identity = tuple[int, int]


class DamageError(Exception):
    """The store cannot be what was written; the reason in a few words."""


def identity(file: Path) -> Identity | None:
    """What tells a file from a later one of its name; None where there is none."""
    try:
        found = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


@contextlib.contextmanager
def in_use(file: Path | None) -> Iterator[int | None]:
    """While this lasts nobody sets ``file`` aside; gives what :func:`keep_aside` takes for it.

    SQLite opens a database first and its log, by name, a moment later. Were the store renamed and a
    new one begun in between, the old one would be read and written with the log of the new.

    The folder is locked, because a lock file would stay behind, and because closing a second handle
    of a database frees the locks that SQLite holds on it. Where folders cannot be locked, as on
    network file systems, there is no such log either, and only the file's identity guards.
    """
    try:
        handle = None if file is None else os.open(file.parent, os.O_RDONLY)
    except OSError:
        handle = None  # what is wrong with the folder is told by who opens the file
    try:
        if handle is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_SH)
        yield handle
    finally:
        if handle is not None:
            os.close(handle)


def keep_aside(
    file: Path, seen: Identity | None, reason: str, is_ours: bool, use: int | None
) -> VertebraError:
    """Rename a damaged store and what lies beside it; the error that says so.

    To be called while the connection that found the damage is open: SQLite's last act on a file is
    to write back its log, unless the file has another name by then. So every byte stays.

    Args:
        file: the store.
        seen: its identity before it was opened. A file that has come in its place is left alone.
        reason: what is wrong with it, in a few words.
        is_ours: that it can only be an evidence store; else it must look like one.
        use: what :func:`in_use` gave for it.
    """
    if not (is_ours or _looks_ours(file)):
        return VertebraError(
            f"{file} is no evidence store ({reason}) and was left as it is; name another file"
        )
    try:
        _wait_until_alone(use)
        if seen is None or identity(file) != seen:
            return VertebraError(
                f"the evidence store {file} was damaged, and another process has just set it "
                f"aside; run this again"
            )
        kept = _rename(file)
        sync_folder(file.parent)
    except OSError as error:
        return VertebraError(
            f"the evidence store {file} is damaged ({reason}) and cannot be set aside: "
            f"{error.strerror}"
        )
    return VertebraError(
        f"the evidence store {file} is damaged ({reason}); it was kept as it is under {kept}, and "
        f"the next call begins a new one"
    )


def _looks_ours(file: Path) -> bool:
    """Whether it is named as a database is, or holds our tables' names in its first pages."""
    if file.suffix.lower() in _DATABASES:
        return True
    with contextlib.suppress(OSError), file.open("rb") as opened:
        return PREFIX.encode() in opened.read(1 << 16)
    return False


def _rename(file: Path) -> Path:
    kept = _free_name(file)
    # First what lies beside it: the log of the old store would be taken for the new one's.
    for suffix in (*_BESIDE, ""):
        with contextlib.suppress(FileNotFoundError):
            _beside(file, suffix).rename(_beside(kept, suffix))
    log = _beside(kept, "-wal")
    # Looked at after the renaming: whoever writes to it still finds the store gone, and writes
    # anew (Database.write).
    if log.exists() and log.stat().st_size == 0:
        log.unlink()
        _beside(kept, "-shm").unlink(missing_ok=True)  # the index of a log that holds nothing
    return kept


def _beside(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)


def _free_name(file: Path) -> Path:
    stem = f"{file.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    kept, number = file.with_name(stem), 1
    while kept.exists():
        number += 1
        kept = file.with_name(f"{stem}-{number}")
    return kept


def _wait_until_alone(use: int | None) -> None:
    """Make our use of a store the only one; each other lasts no longer than a transaction."""
    if use is None:
        return
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise OSError(errno.EBUSY, "other processes are using it all the time") from None
            time.sleep(0.01)
        except OSError:
            return  # folders cannot be locked here
