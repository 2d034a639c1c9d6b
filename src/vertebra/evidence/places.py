"""Where a store lies: what a person writes, and the address that SQLAlchemy takes."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from vertebra.core import VertebraError
from vertebra.core.places import data_folder

VARIABLE = "VERTEBRA_EVIDENCE"
_PSYCOPG = "postgresql+psycopg"
_DRIVERS = {"postgresql": _PSYCOPG, "postgres": _PSYCOPG}


def store_url(given: str | None) -> URL:
    """The address of a store: ``given``, else ``VERTEBRA_EVIDENCE``, else the user's own file.

    What has no "://" is the path of a SQLite file.

    Raises:
        VertebraError: it is no such address. A password is never repeated.
    """
    text = given or os.environ.get(VARIABLE) or str(data_folder() / "evidence.sqlite")
    if "://" not in text:
        return URL.create("sqlite", database=str(_whole(Path(text))))
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Not "from": SQLAlchemy's own sentence may repeat the whole address.
        raise VertebraError(
            f"the address of the evidence store, {text.partition('://')[0]}://..., is none; it is "
            f"like postgresql://user@host/database, or the path of a file"
        ) from None
    if "@" in (url.host or ""):
        raise VertebraError("an @ in the password of the evidence store's address is written %40")
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    return url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))


def file_of(url: URL) -> Path | None:
    """The file of a SQLite store; None for a server, and for one in memory."""
    if url.get_backend_name() != "sqlite" or in_memory(url):
        return None
    return Path(str(url.database))


def in_memory(url: URL) -> bool:
    """Whether it is a SQLite database that ends with the process."""
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


def shown(url: URL) -> str:
    """The address as it may be printed: a path, or an address without its password."""
    file = file_of(url)
    # Options may hold a password, too.
    return str(file) if file else url.set(query={}).render_as_string(hide_password=True)


def _sqlite(url: URL) -> URL:
    if in_memory(url):
        return url
    if str(url.database).startswith("file:"):
        raise VertebraError("a SQLite store is named by its path, not by a file: address")
    return url.set(database=str(_whole(Path(str(url.database)))))


def _whole(path: Path) -> Path:
    """Where it really lies: SQLite names the files beside it after that, through links, too."""
    try:
        return path.expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise VertebraError(f"no path for an evidence store: {str(path)!r} ({error})") from None
