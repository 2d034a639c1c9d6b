"""Stores for tests: a file of SQLite, and a database of a real PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import postgres
import pytest

_numbers = itertools.count()


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The address of a PostgreSQL that these tests have for themselves."""
    pytest.importorskip("psycopg")
    binaries = postgres.programs()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with postgres.cluster(binaries) as address:
        yield address


@pytest.fixture
def database(cluster: str) -> str:
    """The address of an empty database in it."""
    import psycopg

    name = f"store{next(_numbers)}"
    with psycopg.connect(f"{cluster}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{cluster}/{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a store that does not exist yet, of either kind."""
    if request.param == "sqlite":
        return str(tmp_path / "folder" / "evidence.sqlite")
    address: str = request.getfixturevalue("database")
    return address
