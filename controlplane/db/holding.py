"""Keeps a database to one controller, or to the tool that restores it, at a time.

The data folder of a controller is held anyway; this covers databases that a URL puts elsewhere.
"""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import sqlalchemy as sa
from sqlalchemy import exc

from controlplane.db.existing import find_sqlite_file
from controlplane.registry.sql.database import Database
from controlplane.registry.sql.migrate import connect_database
from modelyard.errors import FailedPreconditionError
from modelyard.files import hold_lock_file

# Any number that nobody else locks in a yard's own database, and not that of the schema.
HOLDER_LOCK = 0x6D6F646C79
# For a program that ended a moment ago: the server may not have seen its connection end.
_PATIENCE_S = 5.0
_BETWEEN_LOOKS_S = 0.1
# A host that lost its power ends no connection: without these its lock would stay for hours.
_KEEPALIVES = {"tcp_keepalives_idle": 10, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 3}
_LOCK_NOT_AVAILABLE = "55P03"
_OTHER_SESSIONS = sa.text(
    """
    SELECT pid, application_name FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
      AND pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = :lock AND granted)
    ORDER BY pid
    """
)
# In one transaction it would show the same for ever.
_LOOK_AGAIN = sa.text("SELECT pg_stat_clear_snapshot()")


def hold_database(url: str) -> AbstractContextManager[None]:
    """For as long as a controller runs, or a tool changes all there is. Blocking.

    Raises FailedPreconditionError where another holds it, UnavailableError where the database cannot be reached. What
    holds it is let go with the process, however that ends. On PostgreSQL a restart of the server lets go as well.
    """
    path = find_sqlite_file(url)
    if path is None:
        return _hold_postgresql(url)
    lock = path.with_name(f"{path.name}.lock")
    return hold_lock_file(lock, f"the database {path}", "another controller", "give another --database-url")


@contextmanager
def _hold_postgresql(url: str) -> Iterator[None]:
    database = connect_database(url)
    try:
        with _lock(database):
            yield
    finally:
        database.close()


def _lock(database: Database) -> sa.Connection:
    """The connection whose session has the lock."""
    try:
        # No transaction: one that stays open keeps PostgreSQL from cleaning up.
        connection = database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        for name, value in {**_KEEPALIVES, "lock_timeout": int(_PATIENCE_S * 1000)}.items():
            connection.exec_driver_sql(f"SET {name} = {value}")
        connection.execute(sa.select(sa.func.pg_advisory_lock(HOLDER_LOCK)))
    except exc.SQLAlchemyError as error:
        if getattr(getattr(error, "orig", None), "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            url = database.engine.url.render_as_string(hide_password=True)
            raise FailedPreconditionError(
                f"the database {url} is in use by another controller: stop it, or give another --database-url"
            ) from None
        raise database.explain(error) from error
    return connection


def refuse_company(connection: sa.Connection) -> None:
    """FailedPreconditionError where other programs are connected to the PostgreSQL database of `connection`.

    It sees a controller whose lock went with a restart of the server. Who holds the lock is not counted: that is us.
    """
    end = time.monotonic() + _PATIENCE_S
    while others := connection.execute(_OTHER_SESSIONS, {"lock": HOLDER_LOCK & 0xFFFFFFFF}).all():
        if time.monotonic() > end:
            who = ", ".join(f"{row.application_name or 'a program'} (process {row.pid} there)" for row in others)
            url = connection.engine.url.render_as_string(hide_password=True)
            raise FailedPreconditionError(
                f"the database {url} is in use by {who}: stop the controller and whatever else is connected, "
                "and try again"
            )
        time.sleep(_BETWEEN_LOOKS_S)
        connection.execute(_LOOK_AGAIN)
