"""The one place that knows which database it is: connections, transactions, and what a database error means."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from controlplane.registry.sql import schema
from modelyard.errors import InternalError, ResourceExhaustedError, UnavailableError, YardError

log = logging.getLogger(__name__)

_BUSY_TIMEOUT_MS = 10_000
# Errors whose cause is not in the statement.
_OUTSIDE = (exc.OperationalError, exc.InterfaceError, exc.TimeoutError)
# Any number that nobody else locks in a yard's own database.
_SCHEMA_LOCK = 0x6D6F64656C
# The execution option that marks a transaction as one that writes.
WRITES = "modelyard_writes"


class Database:
    """Transactions over one engine. Thread-safe; every call blocks."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._readers = engine.execution_options(**_read_options(engine))
        self._writers = engine.execution_options(**{WRITES: True})

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One consistent view of everything, from the first read to the end of the block."""
        with self._errors_explained(), self._readers.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """All that is written is kept at the end of the block, or nothing where it raises. One writer at a time."""
        with self._errors_explained(), self._writers.begin() as connection:
            # SQLite has locked at BEGIN IMMEDIATE; this row is what writers queue for elsewhere.
            connection.execute(sa.select(schema.yard.c.id).with_for_update())
            yield connection

    @contextmanager
    def changing_schema(self) -> Iterator[sa.Connection]:
        """As `writing`, where there may be no table yet, and as `rebuilding_tables`.

        Other programs that open the database wait meanwhile.
        """
        with (
            self._errors_explained(),
            self._writers.connect() as connection,
            rebuilding_tables(connection),
        ):
            lock_schema(connection)
            yield connection

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _errors_explained(self) -> Iterator[None]:
        try:
            yield
        except exc.SQLAlchemyError as error:
            raise self.explain(error) from error

    def explain(self, error: exc.SQLAlchemyError) -> YardError:
        """What a person can do about it. The URL is shown without its password."""
        url = self.engine.url.render_as_string(hide_password=True)
        cause = error.orig if isinstance(error, exc.DBAPIError) else error
        reason = " ".join(str(cause).split())  # PostgreSQL's has several lines
        if getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return ResourceExhaustedError(f"the disk of the database {url} is full; make room and try again")
        # The bare DatabaseError is a file that is damaged or no database; its subclasses are mistakes of ours.
        if isinstance(error, _OUTSIDE) or type(error) is exc.DatabaseError:
            return UnavailableError(f"the database {url} cannot be used: {reason}; mend that and try again")
        return InternalError(
            "the database refused what the controller asked of it; the controller's log has the details"
        )


def create_engine(url: str) -> sa.Engine:
    """An engine set up for `url`; connects to nothing yet. Raises sqlalchemy.exc.ArgumentError for a bad URL."""
    engine = sa.create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _set_up_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def lock_schema(connection: sa.Connection) -> None:
    """Waits until no other program changes the schema, and keeps them waiting to the end of the transaction."""
    # SQLite has locked everything at BEGIN IMMEDIATE. Elsewhere there is no table yet to lock.
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))


@contextmanager
def rebuilding_tables(connection: sa.Connection) -> Iterator[None]:
    """A transaction in which tables may be dropped and built anew, though others refer to them.

    Nothing may be under way on the connection. UnavailableError, and nothing changed, where afterwards a row refers to
    one that is not there.
    """
    if connection.dialect.name != "sqlite":
        with connection.begin():
            yield
        return
    # Not by way of `connection`: that would begin a transaction, in which SQLite ignores this pragma.
    driver = connection.connection.dbapi_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.execute("PRAGMA foreign_keys = OFF")
    try:
        with connection.begin():
            before = _schema_version(connection)
            yield
            # It reads all there is, so only after a change.
            if before != _schema_version(connection):
                _refuse_broken_references(connection)
    finally:
        driver.execute("PRAGMA foreign_keys = ON")


def _schema_version(connection: sa.Connection) -> Any:
    return connection.exec_driver_sql("PRAGMA schema_version").scalar()


def _refuse_broken_references(connection: sa.Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        url = connection.engine.url.render_as_string(hide_password=True)
        raise UnavailableError(
            f"the database {url} is damaged: a row of {broken[0]} refers to one of {broken[2]} that is not there; "
            "it was left as it is, restore it from a backup"
        )


def _read_options(engine: sa.Engine) -> dict[str, Any]:
    # SQLite reads one snapshot in any transaction; PostgreSQL's default would take a new one for each statement.
    return {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}


def _set_up_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # The driver's own BEGIN comes too late (before the first write); `_begin_sqlite` sends it instead.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode = WAL")
    # FULL: what a caller was told is registered survives a power cut. Writes are few, so the fsync costs nothing.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: sa.Connection) -> None:
    # IMMEDIATE: a transaction that reads and then writes would fail at once, and not wait, where another wrote between.
    writes = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
