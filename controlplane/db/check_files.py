"""Whether every file that a record needs is in the artifact store, and what is there besides."""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from controlplane.db.report import Report
from controlplane.registry.files.artifact_backend import Backend, Stored
from controlplane.registry.files.readers import read_block
from controlplane.registry.sql.database import Database
from controlplane.registry.sql.schema import versions
from modelyard.errors import DataLossError
from modelyard.resource_names import model_id
from modelyard.sizes import format_size

_ROWS_AT_ONCE = 1000
_SHA256_CHARACTERS = 64
_BRING_BACK = "copy it there from another copy of the artifacts, or register the same content again"


@dataclass(frozen=True)
class _Needed:
    model: str
    number: int
    sha256: str
    size_bytes: int
    what: str  # "file", "sample"

    @property
    def title(self) -> str:
        return f"the {self.what} of {model_id(self.model, self.number)}"


class FileCheck:
    """`read`: whether the bytes of each file are read, too, and not its size alone."""

    def __init__(self, database: Database, backend: Backend, read: bool, tell: Callable[[str], None]) -> None:
        self._database, self._backend = database, backend
        self._read, self._tell = read, tell
        self._counts = {"files": 0, "files_read": 0, "bytes_read": 0, "unneeded_files": 0, "unneeded_bytes": 0}

    def run(self, report: Report) -> None:
        self._tell("checking the files")
        report.add("files", self._find_problems())
        report.counts.update(self._counts)
        if unneeded := self._counts["unneeded_files"]:
            size = format_size(self._counts["unneeded_bytes"])
            report.notes.append(
                f"{unneeded} files ({size}) are kept that no record needs: modelyard purge removes them"
            )

    def _find_problems(self) -> Iterator[str]:
        """A folder of the store at a time, so that no more than its share of the files is held in memory."""
        root = f"{self._backend.root}/sha256"
        left = {path.rstrip("/").rpartition("/")[2] for path in self._backend.list_folders(root)}
        with self._database.reading() as connection:
            for prefix, needed in itertools.groupby(_read_needed(connection), key=lambda file: file.sha256[:2]):
                left.discard(prefix)
                yield from self._check_folder(f"{root}/{prefix}", list(needed))
        for prefix in sorted(left):
            yield from self._check_folder(f"{root}/{prefix}", [])

    def _check_folder(self, folder: str, needed: list[_Needed]) -> Iterator[str]:
        named = ((file.path.rpartition("/")[2], file) for file in self._backend.list_files(folder))
        # Others are on their way in.
        stored = {name: file for name, file in named if len(name) == _SHA256_CHARACTERS}
        for unneeded in stored.keys() - {file.sha256 for file in needed}:
            self._counts["unneeded_files"] += 1
            self._counts["unneeded_bytes"] += stored[unneeded].size_bytes
        for _, same in itertools.groupby(needed, key=lambda file: file.sha256):
            file, *others = same
            self._counts["files"] += 1
            problem = self._check_file(f"{folder}/{file.sha256}", file, stored.get(file.sha256))
            if problem is not None:
                # It is missed by each version that has the same content.
                yield from (problem.replace(file.title, of.title, 1) for of in (file, *others) if self._is_needed(of))

    def _check_file(self, path: str, needed: _Needed, stored: Stored | None) -> str | None:
        place = self._backend.uri(path)
        if stored is None:
            return f"{needed.title} is not there ({place}): {_BRING_BACK}"
        if stored.size_bytes != needed.size_bytes:
            return f"{needed.title} has {stored.size_bytes} of {needed.size_bytes} bytes ({place}): {_BRING_BACK}"
        try:
            is_right = not self._read or self._hash(path, needed) == needed.sha256
        except FileNotFoundError:
            return f"{needed.title} is not there ({place}): {_BRING_BACK}"
        except DataLossError as error:
            return f"{needed.title} cannot be read, for {error.message} ({place}): {_BRING_BACK}"
        return (
            None if is_right else f"{needed.title} has other bytes than it was registered with ({place}): {_BRING_BACK}"
        )

    def _hash(self, path: str, needed: _Needed) -> str:
        self._tell(f"reading the files: {self._counts['bytes_read'] >> 30} GiB so far")
        digest = hashlib.sha256()
        with closing(self._backend.open(path)) as reader:
            for offset in range(0, reader.size_bytes, reader.block_bytes):
                digest.update(read_block(reader, offset))
        self._counts["files_read"] += 1
        self._counts["bytes_read"] += needed.size_bytes
        return digest.hexdigest()

    def _is_needed(self, file: _Needed) -> bool:
        """Still: the yard goes on meanwhile, and may have purged it."""
        is_it = (versions.c.model == file.model) & (versions.c.number == file.number) & versions.c.purged_at.is_(None)
        with self._database.reading() as connection:
            return connection.scalar(sa.select(versions.c.number).where(is_it)) is not None


def _read_needed(connection: sa.Connection) -> Iterator[_Needed]:
    """In the order of their content."""
    files = _select(versions.c.sha256, versions.c.size_bytes, "file")
    samples = _select(versions.c.sample_sha256, versions.c.sample["size_bytes"].as_integer(), "sample")
    query = files.union_all(samples.where(versions.c.sample_sha256.is_not(None))).order_by("sha256")
    for row in connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(query):
        yield _Needed(*row)


def _select(sha256: sa.ColumnElement[Any], size_bytes: sa.ColumnElement[Any], what: str) -> sa.Select[Any]:
    columns = (versions.c.model, versions.c.number, sha256.label("sha256"), size_bytes.label("size_bytes"))
    return sa.select(*columns, sa.literal(what).label("what")).where(versions.c.purged_at.is_(None))
