"""Puts the rows of a backup into an empty database, inside a transaction of the caller's."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from controlplane.db.dump_format import DumpHeader, DumpRow, check_dump, read_header, read_rows
from controlplane.db.schema_tables import YardTable, read_tables
from controlplane.registry.sql.migrate import list_revisions, run_migrations
from controlplane.registry.sql.schema import UtcDateTime, lineage_facts
from modelyard.errors import DataLossError, FailedPreconditionError

_ROWS_AT_ONCE = 500


def check_backup(path: Path) -> DumpHeader:
    """Reads all of it. Raises what `read_header` and `read_rows` raise; FailedPreconditionError for a newer schema."""
    header = read_header(path)
    if header.schema not in list_revisions():
        raise FailedPreconditionError(
            f"the backup {path} was made by a newer Modelyard (schema {header.schema}, this program knows up to "
            f"{list_revisions()[-1]}): restore it with that one"
        )
    check_dump(path)
    return header


def load_backup(
    connection: sa.Connection, path: Path, header: DumpHeader, tell: Callable[[str], None]
) -> Mapping[str, int]:
    """Makes the tables as they were when `path` was written, fills them, and brings them up to date.

    `connection`: in `Database.changing_schema`, with none of the tables. Returns the rows by table. DataLossError.
    """
    tables = read_tables(header.schema)
    run_migrations(connection, header.schema)
    for name in reversed(tables):
        connection.execute(sa.delete(tables[name].clause))  # a new yard is not quite empty
    counts = dict.fromkeys(tables, 0)
    for name, rows in itertools.groupby(read_rows(path), key=lambda row: row.table):
        tell(f"restoring {name}")
        counts[name] = _insert(connection, tables.get(name), rows, path)
    _advance_sequences(connection, tables)
    run_migrations(connection)
    # What the lineage store has was recorded of another life of this yard, if at all.
    connection.execute(sa.update(lineage_facts).values(recorded=False))
    return counts


def _insert(connection: sa.Connection, table: YardTable | None, rows: Iterator[DumpRow], path: Path) -> int:
    count = 0
    while batch := list(itertools.islice(rows, _ROWS_AT_ONCE)):
        if table is None or batch[0].columns != table.columns:
            raise DataLossError(f"the backup {path} has another table {batch[0].table!r} than its schema: use another")
        try:
            connection.execute(sa.insert(table.clause), [_to_values(table, row) for row in batch])
        except (exc.StatementError, ValueError, TypeError) as error:
            if isinstance(error, exc.OperationalError):
                raise
            reason = " ".join(str(getattr(error, "orig", None) or error).split())
            raise DataLossError(f"the database does not take a row of {table.name!r} of {path}: {reason}") from error
        count += len(batch)
    return count


def _to_values(table: YardTable, row: DumpRow) -> dict[str, Any]:
    values = dict(zip(row.columns, row.cells, strict=True))
    for column in table.clause.c:
        if isinstance(column.type, UtcDateTime) and values[column.name] is not None:
            values[column.name] = datetime.fromisoformat(values[column.name])
    return values


def _advance_sequences(connection: sa.Connection, tables: Mapping[str, YardTable]) -> None:
    """PostgreSQL counts rows that it numbers by itself apart from the rows; SQLite looks at them."""
    if connection.dialect.name != "postgresql":
        return
    for table in tables.values():
        key = table.clause.c[table.key[0]]
        sequence = connection.scalar(sa.select(sa.func.pg_get_serial_sequence(table.name, key.name)))
        if sequence is not None:
            following = sa.select(sa.func.coalesce(sa.func.max(key), 0) + 1).scalar_subquery()
            connection.execute(sa.select(sa.func.setval(sequence, following, False)))  # false: it is not given away yet
