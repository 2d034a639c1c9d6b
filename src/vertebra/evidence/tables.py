"""The tables of an evidence store.

Columns for what one searches by, beside the whole measurement as JSON text. Their names begin with
"vertebra", since a team's database may hold other things.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, MetaData, String, Table, Text

PREFIX = "vertebra_"
VERSION = 1
# In characters: what PostgreSQL and MySQL still take into an index.
LONGEST = 600

# Only MySQL wants to be told how long a text may be, and has texts of several sizes.
_WORD = String().with_variant(String(LONGEST), "mysql", "mariadb")
_DOCUMENT = Text().with_variant(Text(2**24 - 1), "mysql", "mariadb")

METADATA = MetaData()

META = Table(
    f"{PREFIX}meta",
    METADATA,
    Column("name", _WORD, primary_key=True),
    Column("value", _WORD, nullable=False),
)

MACHINES = Table(
    f"{PREFIX}machines",
    METADATA,
    Column("fingerprint", _WORD, primary_key=True),
    Column("description", _DOCUMENT, nullable=False),
)

MEASUREMENTS = Table(
    f"{PREFIX}measurements",
    METADATA,
    Column("id", _WORD, primary_key=True),
    Column("key", _WORD, nullable=False),
    Column("measured_at", _WORD, nullable=False),
    Column("model", _WORD, nullable=False),
    Column("fingerprint", _WORD, nullable=False),
    Column("engine", _WORD, nullable=False),
    Column("precision", _WORD, nullable=False),
    Column("workload", _WORD, nullable=False),
    Column("machine", _WORD, nullable=False),
    Column("batch", BigInteger, nullable=False),
    Column("payload", _DOCUMENT, nullable=False),
)
# "What is the newest of these conditions?" is asked before each measurement.
Index(f"{PREFIX}by_key", MEASUREMENTS.c.key, MEASUREMENTS.c.measured_at)
Index(f"{PREFIX}by_model", MEASUREMENTS.c.model)
Index(f"{PREFIX}by_machine", MEASUREMENTS.c.machine)
