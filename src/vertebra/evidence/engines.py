"""The engine of SQLAlchemy that reaches a store."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Engine, NullPool, StaticPool, create_engine
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from vertebra.core import VertebraError, unknown
from vertebra.evidence import sqlite
from vertebra.evidence.places import in_memory, shown

_CONNECT_SECONDS = 15


def engine_for(url: URL) -> Engine:
    """An engine whose every connection is a new one.

    So a forked process shares none with its parent, and a file that came in place of a damaged one
    is met at the next call. A connection takes less than what is asked through it.

    Raises:
        VertebraError: no such kind of database is known, or its driver is not installed.
    """
    try:
        engine = create_engine(
            url,
            poolclass=StaticPool if in_memory(url) else NullPool,
            connect_args=_arguments(url),
        )
    except NoSuchModuleError:
        known = ("mysql", "mariadb", "oracle", "mssql", "postgresql", "sqlite")
        raise unknown("kind of database", url.drivername, known) from None
    except ImportError as error:
        raise VertebraError(
            f"{shown(url)} needs {error.name or url.get_driver_name()}, which is not installed; "
            f"for PostgreSQL: pip install 'vertebra[postgres]' and an address like "
            f"postgresql://user@host/database"
        ) from None
    except (ArgumentError, TypeError, ValueError) as error:
        raise VertebraError(f"the evidence store {shown(url)}: {error}") from None
    if engine.dialect.is_async:
        raise VertebraError(
            f"{shown(url)} names an asynchronous driver; leave out +{url.get_driver_name()}"
        )
    if url.get_backend_name() == "sqlite":
        sqlite.listen(engine)
    return engine


def _arguments(url: URL) -> dict[str, Any]:
    """How long is waited for a lock or a server, unless the address says so itself."""
    if in_memory(url):
        return {"check_same_thread": False}
    if url.get_backend_name() == "sqlite" and "timeout" not in url.query:
        return {"timeout": sqlite.BUSY_SECONDS}
    if url.drivername == "postgresql+psycopg" and "connect_timeout" not in url.query:
        return {"connect_timeout": _CONNECT_SECONDS}
    return {}
