"""Transactions on a store that many processes use, and what happens where one fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

from vertebra.core import VertebraError
from vertebra.evidence import schema, sqlite
from vertebra.evidence.damage import DamageError, Identity, identity, in_use, keep_aside
from vertebra.evidence.engines import engine_for
from vertebra.evidence.places import file_of, shown, store_url
from vertebra.evidence.trouble import explained

T = TypeVar("T")

# Each time another process wrote rows of ours first, or made the tables, or set the file aside.
_ATTEMPTS = 20


class Database:
    """A store's address and how to read and write there; :attr:`name` is what may be printed."""

    def __init__(self, given: str | None) -> None:
        self._is_default = given is None
        self.url = store_url(given)
        self.name = shown(self.url)
        self._file = file_of(self.url)
        self._engine = engine_for(self.url)
        self._looked_through = False

    def read(self, work: Callable[[Connection], T], empty: T) -> T:
        """What ``work`` finds in one state of the store; ``empty`` where there is none yet.

        Makes nothing.

        Raises:
            VertebraError: the store cannot be read.
        """
        with self._explaining():
            if self._file is not None and self._identity() is None:
                return empty
            with self._transaction(writes=False) as connection:
                return work(connection) if self._is_ready(connection) else empty

    def write(self, work: Callable[[Connection], T]) -> T:
        """Do ``work`` as a whole or not at all; makes the store where there is none.

        ``work`` is done anew where another process got ahead of it, so it has to look first what
        is there.

        Raises:
            VertebraError: the store cannot be written to.
        """
        with self._explaining():
            self._make_folder()
            for _ in range(_ATTEMPTS):
                seen = self._identity()
                if self._file is None or seen is not None:
                    done = self._written(work)
                    # Else what was written is in a file that was set aside meanwhile.
                    if done is not None and self._identity() == seen:
                        return done[0]
                self._create()
        raise VertebraError(f"the evidence store {self.name} is changed by others all the time")

    def _written(self, work: Callable[[Connection], T]) -> tuple[T] | None:
        """What ``work`` gave; None where there are no tables yet, or another wrote the same."""
        with (
            contextlib.suppress(IntegrityError),
            self._transaction(writes=True) as connection,
        ):
            return (work(connection),) if self._is_ready(connection) else None
        return None

    def close(self) -> None:
        """Let go of the store."""
        self._engine.dispose()

    def _identity(self) -> Identity | None:
        return None if self._file is None else identity(self._file)

    def _is_ready(self, connection: Connection) -> bool:
        ready = schema.is_ready(connection, self.name, alone=self._file is not None)
        if ready and self._file is not None and not self._looked_through:
            fault = sqlite.faults(connection, self._file)
            if fault is not None:
                raise DamageError(fault)
            self._looked_through = True
        return ready

    def _create(self) -> None:
        """The tables, unless another process makes them at the same time."""
        if self._file is not None:
            with in_use(self._file):
                sqlite.use_wal(self._file)
        try:
            with self._transaction(writes=True) as connection:
                if not self._is_ready(connection):
                    schema.create(connection)
        except DBAPIError:
            with self._transaction(writes=False) as connection:
                if not self._is_ready(connection):
                    raise

    def _make_folder(self) -> None:
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def _transaction(self, writes: bool) -> Iterator[Connection]:
        with in_use(self._file) as use:
            seen = self._identity()
            with self._engine.connect() as connection:
                connection = connection.execution_options(**{sqlite.WRITES: writes})
                try:
                    with connection.begin():
                        yield connection
                except (DamageError, DBAPIError, UnicodeDecodeError) as error:
                    reason = _damage_in(error)
                    if reason is None:
                        raise
                    raise self._damaged(reason, seen, use) from error

    def _damaged(self, reason: str, seen: Identity | None, use: int | None) -> VertebraError:
        if self._file is None:
            return VertebraError(
                f"the evidence store {self.name} is damaged ({reason}); restore it from a backup, "
                f"or name another"
            )
        return keep_aside(self._file, seen, reason, self._is_default, use)

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise explained(error, self.url) from error
        except OSError as error:
            raise VertebraError(
                f"the evidence store {self.name} cannot be reached: {error.strerror or error}"
            ) from error


def _damage_in(error: Exception) -> str | None:
    """What is wrong with the store where ``error`` means that it is damaged, else None."""
    if isinstance(error, DamageError):
        return str(error)
    return sqlite.damage_in(error.orig if isinstance(error, DBAPIError) else error)
