"""A yard's database as it is: looked at, never made, upgraded or written."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from controlplane.registry.sql.database import Database
from controlplane.registry.sql.migrate import connect_database, read_revision, refuse_newer
from modelyard.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError


def find_sqlite_file(url: str) -> Path | None:
    """Of the database at `url`; None where that is not SQLite. InvalidArgumentError where it is SQLite in memory."""
    database = connect_database(url)
    parsed = database.engine.url
    database.close()
    if parsed.get_backend_name() != "sqlite":
        return None
    if not parsed.database or parsed.database.startswith((":memory:", "file:")):
        raise InvalidArgumentError(f"{url!r} names no file: give sqlite:///FILE")
    return Path(parsed.database)


@contextmanager
def open_existing(url: str) -> Iterator[Database]:
    """Nothing can be written by it. NotFoundError where there is no database."""
    path = find_sqlite_file(url)
    if path is not None and not path.is_file():
        below = path.parent / "controller" / path.name  # of what `modelyard up` is told, it is a part
        way_out = (
            f"there is one below it, give --data {below.parent}"
            if below.is_file()
            else ("say where it is with --data or --database-url")
        )
        raise NotFoundError(f"there is no database {path}: {way_out}")
    database = connect_database(url)
    if path is not None:
        # Not by opening it read-only: where no other program has it open, SQLite could not read what is in its log.
        sa.event.listen(database.engine, "connect", _refuse_writes)
    try:
        yield database
    finally:
        database.close()


def _refuse_writes(connection: sqlite3.Connection, _: object) -> None:
    connection.execute("PRAGMA query_only = ON")


def require_revision(connection: sa.Connection) -> str:
    """Of the schema. FailedPreconditionError where there is none, or one of a newer program."""
    revision = read_revision(connection)
    if revision is None:
        url = connection.engine.url.render_as_string(hide_password=True)
        raise FailedPreconditionError(
            f"the database {url} holds no yard: say where one is with --data or --database-url, or start a controller"
        )
    refuse_newer(connection)
    return revision
