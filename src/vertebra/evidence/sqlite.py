"""What SQLite has to be told so that many processes can share one file and lose nothing."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

BUSY_SECONDS = 30
# The bytes that are read in a blink.
_LOOKED_THROUGH = 32 << 20
# An execution option of connections: they begin as writers.
WRITES = "vertebra_writes"

# The first words of file systems that several machines mount. In WAL mode, processes share memory
# beside the file, which those of two machines cannot.
_SHARED = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "gluster", "lustre", "gpfs", "beegfs", "fuse")


def listen(engine: Engine) -> None:
    """Begin transactions ourselves: Python's driver would begin them late, and as readers.

    Two readers that both turn writers block each other, and SQLite ends one of them at once,
    however long it may wait. Whoever begins as a writer waits for its turn.
    """

    @event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: Any, _record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # Finds pages that were overwritten before it reads nonsense off them.
        connection.exec_driver_sql("PRAGMA cell_size_check=ON")
        if connection.get_execution_options().get(WRITES):
            # Some builds of SQLite sync less by themselves in WAL mode.
            connection.exec_driver_sql("PRAGMA synchronous=FULL")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql("BEGIN")


def use_wal(file: Path, patience: float = 5.0) -> None:
    """Let readers of ``file`` read while another writes, where its file system can do that.

    Elsewhere SQLite's rollback journal stays, as safe, where one waits for the other.
    """
    if _is_shared(file):
        return
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            with contextlib.closing(sqlite3.connect(file, timeout=patience)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.DatabaseError as error:
            # Of several processes that do this at once, all but one are told so without a wait.
            # What else is wrong with the file is met, and told, by whoever uses it next.
            if primary_code(error) != sqlite3.SQLITE_BUSY:
                return
            time.sleep(0.02)


def faults(connection: Connection, file: Path) -> str | None:
    """The first fault of a store that is small enough to be looked through, else None.

    All pages, and whether the indices hold what the tables hold: a millisecond for each MiB. In a
    larger store damage is met where it is read.
    """
    if file.stat().st_size > _LOOKED_THROUGH:
        return None
    first = str(connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar())
    return None if first == "ok" else " ".join(first.split())


def primary_code(error: BaseException) -> int:
    """SQLite's result code without its details; 0 for what is no error of SQLite's."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def damage_in(error: BaseException | None) -> str | None:
    """What is wrong where ``error`` means a damaged file, else None."""
    if isinstance(error, UnicodeDecodeError):
        return "it holds text that is none"
    if not isinstance(error, sqlite3.Error):
        return None
    damaged = primary_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    # Two that have no code of their own.
    words = ("unsupported file format", "Could not decode to UTF-8")
    return str(error) if damaged or str(error).startswith(words) else None


def _is_shared(file: Path) -> bool:
    import psutil

    mounts = [
        (len(partition.mountpoint), partition.fstype)
        for partition in psutil.disk_partitions(all=True)
        if file.is_relative_to(partition.mountpoint)
    ]
    return bool(mounts) and max(mounts)[1].startswith(_SHARED)
