"""What was measured, by whom and where: kept for good, looked up by what it hangs on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import ColumnElement, Connection, Table, and_, func, insert, select

from vertebra.core import unknown
from vertebra.evidence.checks import plain_data
from vertebra.evidence.damage import DamageError
from vertebra.evidence.database import Database
from vertebra.evidence.exchange import SCHEMA, read_document
from vertebra.evidence.measurement import Measurement
from vertebra.evidence.rows import measurement_of, row_of, text_of
from vertebra.evidence.tables import MACHINES, MEASUREMENTS

if TYPE_CHECKING:
    from vertebra.machine import Machine

# Measurements can be searched by these.
_FIELDS = ("model", "fingerprint", "engine", "precision", "workload", "machine", "batch")
# Below what any database takes in one statement.
_AT_ONCE = 500

Row = dict[str, Any]


class Evidence:
    """A store of measurements that only grows.

    One measurement is one row, however often it is added or imported. A file of SQLite by default;
    any address of SQLAlchemy's for a team. Processes may share a store, and so may threads.

    Args:
        url: an address like "postgresql://user@host/database", or a file's path. By default what
            ``VERTEBRA_EVIDENCE`` says, else ``evidence.sqlite`` in ``VERTEBRA_HOME`` or where the
            system keeps a user's data.

    Raises:
        VertebraError: from here and from every method: the address is none, its driver is not
            installed, or the store cannot be used; where its file is damaged, it is kept aside
            first.
    """

    def __init__(self, url: str | None = None) -> None:
        self._database = Database(url)

    @property
    def name(self) -> str:
        """The store's path, or its address without a password."""
        return self._database.name

    def add(self, measurements: Iterable[Measurement], machine: Machine | None = None) -> int:
        """Keep ``measurements``, all or none, and what ``machine`` is; the number of new ones."""
        rows = [row_of(measurement) for measurement in measurements]
        machines = {} if machine is None else {machine.fingerprint: asdict(machine)}
        return self._add(rows, machines)

    def measurements(
        self,
        model: str | None = None,
        fingerprint: str | None = None,
        engine: str | None = None,
        precision: str | None = None,
        workload: str | None = None,
        machine: str | None = None,
        batch: int | None = None,
        latest: bool = True,
    ) -> list[Measurement]:
        """What was measured, the newest first.

        Args:
            model: by its name, or all that match a wildcard such as "resnet*".
            fingerprint: of the network's graph.
            engine: as in :class:`Conditions`, like the following.
            precision: that really ran.
            workload: "stream", "offline", ...
            machine: the machine's fingerprint.
            batch: images in one call.
            latest: only the newest of those under equal conditions.
        """
        values = (model, fingerprint, engine, precision, workload, machine, batch)
        wanted = {
            name: value for name, value in zip(_FIELDS, values, strict=True) if value is not None
        }
        return self._database.read(lambda connection: _found(connection, wanted, latest), [])

    def fresh(self, key: str) -> Measurement | None:
        """The newest measurement under the conditions of a :attr:`Conditions.key`, if any."""
        nothing: list[Measurement] = []
        found = self._database.read(lambda connection: _found(connection, {"key": key}), nothing)
        return found[0] if found else None

    def machines(self) -> dict[str, dict[str, Any]]:
        """The machines that were described: what each is, by its fingerprint."""
        return self._database.read(_machines, {})

    def known(self, field: str) -> list[Any]:
        """The values that a field has in the store, sorted; a field that one can search by.

        Raises:
            VertebraError: one cannot search by it.
        """
        if field not in _FIELDS:
            raise unknown("field", field, _FIELDS)
        return self._database.read(lambda connection: _known(connection, field), [])

    def export(self) -> dict[str, Any]:
        """The whole store as plain data, for :meth:`import_` into another one."""

        def everything(connection: Connection) -> dict[str, Any]:
            found = _found(connection, {}, latest=False)
            return document_of(_machines(connection), found)

        return self._database.read(everything, document_of({}, []))

    def import_(self, document: object) -> tuple[int, int]:
        """Add what :meth:`export` gave, all of it or nothing; how many were new, how many known.

        Raises:
            VertebraError: it is no such document; the first thing that is wrong with it.
        """
        machines, measurements = read_document(document)
        rows = {row["id"]: row for row in map(row_of, measurements)}
        added = self._add(list(rows.values()), machines)
        return added, len(measurements) - added

    def close(self) -> None:
        """Let go of the store; a new call takes it up again."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def _add(self, rows: Sequence[Row], machines: Mapping[str, Mapping[str, Any]]) -> int:
        described = [
            {"fingerprint": name, "description": text_of(plain_data(about, "machine"))}
            for name, about in machines.items()
        ]

        def work(connection: Connection) -> int:
            _insert_new(connection, MACHINES, "fingerprint", described)
            return _insert_new(connection, MEASUREMENTS, "id", rows)

        return self._database.write(work) if rows or described else 0


def document_of(
    machines: Mapping[str, Mapping[str, Any]], measurements: Iterable[Measurement]
) -> dict[str, Any]:
    """Machines and measurements as the document that :meth:`Evidence.import_` takes."""
    plain = [plain_data(measurement.to_dict(), "measurement") for measurement in measurements]
    return {"schema": SCHEMA, "machines": dict(machines), "measurements": plain}


def _insert_new(connection: Connection, table: Table, key: str, rows: Sequence[Row]) -> int:
    """Insert the rows whose ``key`` is not there yet; how many these are.

    In one order, so that two processes never wait for each other's rows.
    """
    by_key = {row[key]: row for row in rows}
    names = sorted(by_key)
    added = 0
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        there = set(connection.scalars(select(table.c[key]).where(table.c[key].in_(some))))
        new = [by_key[name] for name in some if name not in there]
        if new:
            connection.execute(insert(table), new)
        added += len(new)
    return added


def _found(
    connection: Connection, wanted: Mapping[str, Any], latest: bool = True
) -> list[Measurement]:
    """The measurements that have what is ``wanted``, the newest first."""
    table = MEASUREMENTS.c
    conditions = [_condition(connection, name, value) for name, value in wanted.items()]
    query = select(table.id, table.payload)
    if latest:
        newest = func.row_number().over(
            partition_by=table.key, order_by=(table.measured_at.desc(), table.id.desc())
        )
        ranked = select(table.id, newest.label("place")).where(*conditions).subquery()
        query = query.join(ranked, and_(ranked.c.id == table.id, ranked.c.place == 1))
    else:
        query = query.where(*conditions)
    # The identity last: two of one second are in the same order in every store.
    rows = connection.execute(query.order_by(table.measured_at.desc(), table.id.desc()))
    return [measurement_of(row.id, row.payload) for row in rows]


def _condition(connection: Connection, name: str, value: Any) -> ColumnElement[bool]:
    column = MEASUREMENTS.c[name]
    if name == "model" and set(value) & set("*?["):
        # Matched here: databases do not agree on wildcards, nor on upper and lower case.
        names = _known(connection, "model")
        return column.in_([known for known in names if known == value or fnmatchcase(known, value)])
    equal: ColumnElement[bool] = column == value
    return equal


def _known(connection: Connection, field: str) -> list[Any]:
    return sorted(connection.scalars(select(MEASUREMENTS.c[field]).distinct()))


def _machines(connection: Connection) -> dict[str, dict[str, Any]]:
    rows = connection.execute(select(MACHINES).order_by(MACHINES.c.fingerprint))
    try:
        return {row.fingerprint: json.loads(row.description) for row in rows}
    except ValueError as error:
        raise DamageError("a machine's description is not what was written") from error
