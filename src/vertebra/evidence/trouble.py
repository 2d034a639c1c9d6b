"""What a database refused, in a sentence that helps its user on."""

from __future__ import annotations

import sqlite3

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from vertebra.core import VertebraError
from vertebra.evidence.places import VARIABLE, shown
from vertebra.evidence.sqlite import primary_code

_ELSEWHERE = f"name another store by {VARIABLE} or --store"
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_CLOSED = {
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
}


def explained(error: DBAPIError, url: URL) -> VertebraError:
    """The error for what SQLAlchemy's ``error`` says of the store at ``url``."""
    store = f"the evidence store {shown(url)}"
    words = _words(error, url)
    code = primary_code(error.orig) if error.orig else 0
    if code in _BUSY:
        return VertebraError(
            f"{store} is locked: another process has been writing to it for too long; let that end "
            f"and run this again, or {_ELSEWHERE}"
        )
    if code in _CLOSED:
        return VertebraError(
            f"{store} cannot be opened or written to ({words}); this user must be allowed to write "
            f"to it and to its folder, or {_ELSEWHERE}"
        )
    if code == sqlite3.SQLITE_FULL:
        return VertebraError(
            f"{store} has no room left on its disk; nothing of this call was written, and what was "
            f"there before is safe: free some space or {_ELSEWHERE}"
        )
    return VertebraError(f"{store}: {words}")


def _words(error: DBAPIError, url: URL) -> str:
    """What the driver says, in one line and without any password."""
    text = " ".join(str(error.orig or error).split())
    for secret in (url.password, url.query.get("password")):
        if isinstance(secret, str) and secret:
            text = text.replace(secret, "***")
    return text
