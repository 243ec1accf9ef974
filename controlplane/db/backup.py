"""Writes all that a database holds of a yard to one file, while controllers go on writing.

All tables are read in one transaction that sees one moment, so the file is what the yard was then. It holds no model
files: those are kept by their content and never change, so any copy of them that was made later has what the backup
names, save what was purged in between.
"""

import gzip
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

import sqlalchemy as sa

from controlplane.db.dump_format import DumpHeader, DumpWriter, check_dump
from controlplane.db.existing import open_existing, require_revision
from controlplane.db.schema_tables import YardTable, read_tables
from controlplane.registry.files.storage_errors import storage_errors_explained
from modelyard.errors import AlreadyExistsError

_ROWS_AT_ONCE = 1000
# Beyond it gzip takes twice as long for some percent.
_COMPRESSION = 5


@dataclass(frozen=True)
class Backup:
    path: Path
    size_bytes: int
    schema: str
    rows: Mapping[str, int]  # by table


def back_up(url: str, destination: Path, now: datetime, tell: Callable[[str], None]) -> Backup:
    """`destination`: a file that is not there yet, or a folder, in which the file gets the name of the moment.

    The file is whole and was read back when this returns; where it raises there is none. `tell` gets what is going on.
    Raises AlreadyExistsError, NotFoundError, FailedPreconditionError, UnavailableError, ResourceExhaustedError.
    """
    path = _choose_path(destination, now)
    with open_existing(url) as database, database.reading() as connection:
        header = DumpHeader(require_revision(connection), now.isoformat(), connection.dialect.name)
        tables = read_tables(header.schema)
        with _written_whole(path) as file:
            rows = _dump(connection, tables, header, file, tell)
    return Backup(path, path.stat().st_size, header.schema, rows)


def _choose_path(destination: Path, now: datetime) -> Path:
    is_folder = destination.is_dir()
    path = destination / f"modelyard-{now:%Y%m%dT%H%M%SZ}.jsonl.gz" if is_folder else destination
    if path.exists():
        raise AlreadyExistsError(f"{path} is there already: give another name, or a folder")
    return path


@contextmanager
def _written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name once all of it is on the disk and could be read back; else it is gone."""
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    with storage_errors_explained(path):
        try:
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            check_dump(partial)
            partial.rename(path)
        finally:
            partial.unlink(missing_ok=True)


def _dump(
    connection: sa.Connection,
    tables: Mapping[str, YardTable],
    header: DumpHeader,
    file: IO[bytes],
    tell: Callable[[str], None],
) -> Mapping[str, int]:
    # No time and no name in the file's own header: the same yard gives the same bytes.
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=_COMPRESSION, mtime=0) as packed:
        writer = DumpWriter(packed)
        writer.begin(header)
        for table in tables.values():
            tell(f"backing up {table.name}")
            writer.begin_table(table.name, table.columns)
            query = sa.select(table.clause).order_by(*(table.clause.c[name] for name in table.key))
            for row in connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(query):
                writer.write_row([cell.isoformat() if isinstance(cell, datetime) else cell for cell in row])
        writer.end()
    return writer.rows
