"""Makes a database what it was when a backup was written.

Into a database that holds no yard, or in the place of one that is kept aside. Until the last step, which is one
transaction or one rename, nothing has changed; afterwards all has.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from controlplane.db.dump_format import DumpHeader
from controlplane.db.existing import find_sqlite_file, open_existing
from controlplane.db.holding import hold_database, refuse_company
from controlplane.db.loading import check_backup, load_backup
from controlplane.db.schema_tables import read_tables
from controlplane.registry.files.storage_errors import storage_errors_explained
from controlplane.registry.lineage.config import SqliteFile, lineage_config
from controlplane.registry.sql.migrate import connect_database, list_revisions, read_revision
from modelyard.errors import FailedPreconditionError, YardError
from modelyard.files import hold_data_folder

_BESIDE_SQLITE = ("-wal", "-shm")


@dataclass(frozen=True)
class Restored:
    schema: str  # that the backup was made with
    made_at: str
    rows: Mapping[str, int]  # by table
    kept_aside: tuple[str, ...]  # files, or "schema NAME" of PostgreSQL


@dataclass(frozen=True)
class _Wanted:
    url: str
    lineage: Path | None  # where it is a file
    backup: Path
    header: DumpHeader
    replace: bool
    suffix: str  # of what is kept aside
    tell: Callable[[str], None]


def restore(
    backup: Path,
    data: Path,
    url: str,
    *,
    lineage_url: str = "",
    replace: bool,
    now: datetime,
    tell: Callable[[str], None],
) -> Restored:
    """`data`: the controller's folder; `url`: of its database. `replace`: a yard that is there is kept aside.

    `lineage_url`: of the lineage store, where it is not beside the database.

    Raises FailedPreconditionError while a controller runs, for a database that holds a yard (without `replace`) and
    for a backup of a newer program; DataLossError, InvalidArgumentError for a backup that cannot be used.
    """
    tell("checking the backup")
    suffix = f"before-restore-{now:%Y%m%dT%H%M%SZ}"
    lineage = lineage_config(lineage_url, url, data)
    lineage_file = lineage.path if isinstance(lineage, SqliteFile) else None
    wanted = _Wanted(url, lineage_file, backup, check_backup(backup), replace, suffix, tell)
    with hold_data_folder(data, "controller"), hold_database(url):
        path = find_sqlite_file(url)
        if path is None:
            rows, kept = _restore_postgresql(wanted)
        else:
            with storage_errors_explained(path):
                rows, kept = _restore_sqlite(path, wanted)
    return Restored(wanted.header.schema, wanted.header.made_at, rows, tuple(kept))


def _restore_sqlite(path: Path, wanted: _Wanted) -> tuple[Mapping[str, int], list[str]]:
    holds_yard = path.exists() and not _is_empty_file(wanted.url)
    _refuse_yard(wanted, holds_yard)
    fresh = path.with_name(f"{path.name}.restoring")
    try:
        _remove(fresh)
        rows = _load_file(fresh, wanted)
        kept = _keep_lineage_aside(wanted)
        kept += _keep_aside(path, wanted.suffix) if holds_yard else []
        # A log that is left would be taken for the new file's.
        for beside in _BESIDE_SQLITE:
            path.with_name(path.name + beside).unlink(missing_ok=True)
        fresh.replace(path)
        _sync(path.parent)
    finally:
        _remove(fresh)
    return rows, kept


def _load_file(fresh: Path, wanted: _Wanted) -> Mapping[str, int]:
    database = connect_database(f"sqlite:///{fresh.absolute()}")
    try:
        with database.changing_schema() as connection:
            rows = load_backup(connection, wanted.backup, wanted.header, wanted.tell)
    finally:
        database.close()  # the last to leave brings the log into the file and removes it
    _sync(fresh)
    return rows


def _is_empty_file(url: str) -> bool:
    """False where it cannot be told: what is damaged is worth keeping, too."""
    with contextlib.suppress(YardError), open_existing(url) as database, database.reading() as connection:
        return _is_empty(connection)
    return False


def _is_empty(connection: sa.Connection) -> bool:
    """Whether it has no more than what the migrations put into a new database, or not even that."""
    revision = read_revision(connection)
    if revision is None:
        return not sa.inspect(connection).get_table_names()
    if revision not in list_revisions():
        return False
    tables = [table.clause for name, table in read_tables(revision).items() if name != "yard"]
    return all(connection.execute(sa.select(table).limit(1)).first() is None for table in tables)


def _refuse_yard(wanted: _Wanted, holds_yard: bool) -> None:
    if holds_yard and not wanted.replace:
        raise FailedPreconditionError(
            f"the database {sa.make_url(wanted.url).render_as_string(hide_password=True)} is not empty: restore into "
            "another, or take its place with --replace, which keeps it aside"
        )


def _keep_aside(path: Path, suffix: str) -> list[str]:
    """Gives the SQLite file a second name, and its log where it is not in the file yet. Returns the names."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    kept = []
    for beside in ("", "-wal"):
        source, target = path.with_name(path.name + beside), path.with_name(f"{path.name}.{suffix}{beside}")
        if source.exists():
            os.link(source, target)
            kept.append(str(target))
    return kept


def _keep_lineage_aside(wanted: _Wanted) -> list[str]:
    """What it has of the yard that goes would be taken for that of the yard that comes; the journal fills a new one.

    Ahead of the last step: a lineage store that is lost is filled again, one that is another yard's stays wrong.
    """
    if wanted.lineage is None or not wanted.lineage.exists():
        return []
    with storage_errors_explained(wanted.lineage):
        kept = _keep_aside(wanted.lineage, wanted.suffix)
        _remove(wanted.lineage)
    return kept


def _remove(path: Path) -> None:
    for beside in ("", *_BESIDE_SQLITE):
        path.with_name(path.name + beside).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _restore_postgresql(wanted: _Wanted) -> tuple[Mapping[str, int], list[str]]:
    database = connect_database(wanted.url)
    try:
        with database.changing_schema() as connection:
            refuse_company(connection)
            kept = _clear(connection, wanted)
            rows = load_backup(connection, wanted.backup, wanted.header, wanted.tell)
            return rows, kept + _keep_lineage_aside(wanted)
    finally:
        database.close()


def _clear(connection: sa.Connection, wanted: _Wanted) -> list[str]:
    """Leaves no table of a yard. Returns what was kept aside."""
    is_empty = _is_empty(connection)
    _refuse_yard(wanted, not is_empty)
    if not is_empty:
        return [_move_aside(connection, wanted.suffix)]
    revision = read_revision(connection)
    if revision is not None:
        connection.exec_driver_sql(f"DROP TABLE {', '.join([*read_tables(revision), 'alembic_version'])}")
    return []


def _move_aside(connection: sa.Connection, suffix: str) -> str:
    """All tables, those of the lineage store among them, into a schema of their own."""
    name = suffix.replace("-", "_").lower()
    connection.execute(sa.schema.CreateSchema(name))
    quote = connection.dialect.identifier_preparer.quote_identifier
    for table in sa.inspect(connection).get_table_names():
        connection.exec_driver_sql(f"ALTER TABLE {quote(table)} SET SCHEMA {name}")
    return f"schema {name}"
