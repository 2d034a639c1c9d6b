"""Whether a database holds our tables, of which version, and how they are made."""

from __future__ import annotations

from sqlalchemy import Connection, Inspector, Table, insert, inspect, select

from vertebra.core import VertebraError
from vertebra.evidence.damage import DamageError
from vertebra.evidence.tables import MACHINES, MEASUREMENTS, META, METADATA, PREFIX, VERSION


def is_ready(connection: Connection, store: str, alone: bool) -> bool:
    """Whether the tables are there; False where there are none yet and they may be made.

    Args:
        connection: to the database.
        store: its name in errors.
        alone: that it holds nothing else, as a file of ours; a server's database may.

    Raises:
        VertebraError: the file is of somebody else, or of a later version of vertebra.
        DamageError: some of the tables or columns are missing.
    """
    inspector = inspect(connection)
    tables = set(inspector.get_table_names())
    if not any(name.startswith(PREFIX) for name in tables):
        if tables and alone:
            some = ", ".join(sorted(tables)[:3])
            raise VertebraError(
                f"{store} is a SQLite database of something else (it holds {some}) and was left as "
                f"it is; name another file"
            )
        return False
    # Its version first: a later one may have other tables.
    _check_table(inspector, META)
    _check_version(connection, store)
    for table in (MACHINES, MEASUREMENTS):
        _check_table(inspector, table)
    return True


def create(connection: Connection) -> None:
    """Make the tables; in one transaction where the database can."""
    METADATA.create_all(connection)
    connection.execute(insert(META).values(name="schema", value=str(VERSION)))


def _check_table(inspector: Inspector, table: Table) -> None:
    if not inspector.has_table(table.name):
        raise DamageError(f"it has no table {table.name}")
    found = {column["name"] for column in inspector.get_columns(table.name)}
    for column in table.columns:
        if column.name not in found:
            raise DamageError(f"table {table.name} has no column {column.name}")


def _check_version(connection: Connection, store: str) -> None:
    version = connection.scalar(select(META.c.value).where(META.c.name == "schema"))
    if not (isinstance(version, str) and version.isdigit()):
        raise DamageError("it does not say its version")
    if int(version) > VERSION:
        raise VertebraError(
            f"{store} was made by a later vertebra (version {version} of the store, this one knows "
            f"{VERSION}); update vertebra, or name another store"
        )
