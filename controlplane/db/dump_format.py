"""The file of a backup: gzip of lines of JSON, which `zcat` and `jq` read, too.

The first line says what it is: {"modelyard_backup": 1, "schema": "0002", "made_at": "...", "database": "sqlite"}.
Then {"table": "models", "columns": ["name", ...]} comes before the rows of each table, each a list of its cells;
moments are ISO 8601 in UTC. The last line, {"rows": {"models": 3, ...}, "sha256": "..."}, counts the rows and has the
checksum of all bytes before it, uncompressed: a file without it was cut off.
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from modelyard.errors import DataLossError, FailedPreconditionError, InvalidArgumentError

FORMAT_VERSION = 1
# Far more than any row has: a file that is no backup may have no line end at all.
_LONGEST_LINE_BYTES = 256 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_ANOTHER = "take another copy of it, or another backup"


@dataclass(frozen=True)
class DumpHeader:
    schema: str  # the revision
    made_at: str  # ISO 8601
    database: str  # "sqlite", "postgresql": what it was made of


@dataclass(frozen=True)
class DumpRow:
    table: str
    columns: tuple[str, ...]
    cells: list[Any]


class _Writable(Protocol):
    def write(self, data: bytes, /) -> int: ...


class DumpWriter:
    """Writes to `file`: `begin`, then for each table `begin_table` and its rows, then `end`."""

    def __init__(self, file: _Writable) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._table = ""
        self.rows: dict[str, int] = {}

    def begin(self, header: DumpHeader) -> None:
        self._write({"modelyard_backup": FORMAT_VERSION, **asdict(header)})

    def begin_table(self, name: str, columns: Sequence[str]) -> None:
        self._table = name
        self.rows[name] = 0
        self._write({"table": name, "columns": list(columns)})

    def write_row(self, cells: Sequence[Any]) -> None:
        self.rows[self._table] += 1
        self._write(list(cells))

    def end(self) -> None:
        self._write({"rows": self.rows, "sha256": self._digest.hexdigest()})

    def _write(self, value: Any) -> None:
        line = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        self._digest.update(line)
        self._file.write(line)


def read_header(path: Path) -> DumpHeader:
    """InvalidArgumentError for a file that is no backup, DataLossError for one that is damaged at once.

    FailedPreconditionError for one whose format a newer program made.
    """
    lines = _read_lines(path)
    first = next(lines, None)
    lines.close()
    return _parse_header(path, first)


def read_rows(path: Path) -> Iterator[DumpRow]:
    """All rows, in the order in which they were written. DataLossError, at the latest after the last, if damaged."""
    lines = _read_lines(path)
    digest = hashlib.sha256(next(lines, (b"", None))[0])
    counted: dict[str, int] = {}
    table, columns = "", ()
    for line, value in lines:
        match value:
            case list():
                counted[table] = counted.get(table, 0) + 1
                yield DumpRow(table, columns, value)
            case {"table": str(table), "columns": [*names]}:
                columns = tuple(names)
                counted[table] = 0
            case {"rows": rows, "sha256": sha256}:
                return _check_end(path, (rows, sha256), (counted, digest.hexdigest()), next(lines, None))
            case _:
                raise DataLossError(f"the backup {path} is damaged: {_ANOTHER}")
        digest.update(line)
    raise DataLossError(f"the backup {path} is cut off: {_ANOTHER}")


def check_dump(path: Path) -> Mapping[str, int]:
    """Reads all of it, and returns how many rows each table has; an empty one is not named. DataLossError."""
    counted: dict[str, int] = {}
    for row in read_rows(path):
        counted[row.table] = counted.get(row.table, 0) + 1
    return counted


def _check_end(path: Path, told: object, found: object, more: object) -> None:
    if told != found or more is not None:
        raise DataLossError(f"the backup {path} is damaged (its checksum is wrong): {_ANOTHER}")


def _parse_header(path: Path, first: tuple[bytes, Any] | None) -> DumpHeader:
    match first and first[1]:
        case {"modelyard_backup": 1, "schema": str(schema), "made_at": str(made_at), "database": str(database)}:
            return DumpHeader(schema, made_at, database)
        case {"modelyard_backup": int(newer)} if newer > FORMAT_VERSION:
            raise FailedPreconditionError(f"{path} was made by a newer Modelyard: restore it with that one")
    raise InvalidArgumentError(f"{path} is no backup of Modelyard: {_ANOTHER}")


def _read_lines(path: Path) -> Generator[tuple[bytes, Any], None, None]:
    """Each line and its JSON."""
    try:
        with path.open("rb") as raw, gzip.open(raw) as file:
            if raw.peek(2)[:2] != _GZIP_MAGIC:
                raise InvalidArgumentError(f"{path} is no backup of Modelyard: {_ANOTHER}")
            while line := file.readline(_LONGEST_LINE_BYTES):
                yield line, json.loads(line)
    except EOFError as error:
        raise DataLossError(f"the backup {path} is cut off: {_ANOTHER}") from error
    except (zlib.error, gzip.BadGzipFile, ValueError) as error:  # not gzip, not JSON, not text
        raise DataLossError(f"the backup {path} is damaged: {_ANOTHER}") from error
    except OSError as error:
        raise InvalidArgumentError(f"{path} cannot be read: {error.strerror or error}") from error
