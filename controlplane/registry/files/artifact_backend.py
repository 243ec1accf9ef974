"""A place where artifacts are kept, as anything that fsspec can reach.

All of it blocks, and raises YardError, or FileNotFoundError where that is what the caller asks.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from controlplane.registry.files.readers import FsspecReader, Reader
from controlplane.registry.files.storage_errors import storage_errors_explained
from modelyard.errors import UnavailableError

_WRITE_BYTES = 4 << 20
Tick = Callable[[], None]


@dataclass(frozen=True)
class Stored:
    path: str
    size_bytes: int
    modified_at: datetime


class Backend:
    """Any file system: a file is written under another name and moved."""

    def __init__(self, fs: Any, root: str) -> None:
        self._fs = fs
        self.root = root.rstrip("/")

    @property
    def incoming(self) -> str:
        return f"{self.root}/incoming"

    def prepare(self) -> None:
        """Makes the folders, where there is such a thing, and says what is wrong with the place."""
        with storage_errors_explained(self.uri(self.root)):
            self._fs.makedirs(f"{self.root}/sha256", exist_ok=True)

    def size(self, path: str) -> int:
        """FileNotFoundError where there is no such file."""
        with storage_errors_explained(self.uri(path), passing=(FileNotFoundError,)):
            info = self._fs.info(path)
        if info["type"] != "file":
            raise FileNotFoundError(path)
        return int(info["size"])

    def open(self, path: str) -> Reader:
        """FileNotFoundError where there is no such file."""
        return FsspecReader(self._fs, path, self.size(path))

    def put(self, source: Path, path: str, tick: Tick) -> None:
        """Copies a local file, at once or not at all, in the place of what was there; one may move it instead."""
        partial = f"{self.incoming}/{path.rpartition('/')[2]}.{secrets.token_hex(8)}"
        with storage_errors_explained(self.uri(path)):
            for folder in (self.incoming, path.rpartition("/")[0]):
                self._fs.makedirs(folder, exist_ok=True)
            try:
                self._write(source, partial, tick)
                self._check_size(partial, source.stat().st_size)
                self._move(partial, path)
            except BaseException:
                with suppress(Exception):
                    self._fs.rm_file(partial)
                raise

    def remove(self, path: str) -> None:
        """FileNotFoundError where there is no such file."""
        self.size(path)  # S3 and HDFS have nothing against removing what is not there
        with storage_errors_explained(self.uri(path), passing=(FileNotFoundError,)):
            self._fs.rm_file(path)

    def list_folders(self, path: str) -> list[str]:
        """The folders in a folder, as paths; none where that is not there."""
        return [str(entry["name"]) for entry in self._list(path) if entry["type"] == "directory"]

    def list_files(self, path: str) -> list[Stored]:
        """The files in a folder; none where that is not there."""
        return [
            Stored(str(entry["name"]), int(entry["size"]), _modified_at(self._fs, entry))
            for entry in self._list(path)
            if entry["type"] == "file"
        ]

    def walk(self, path: str) -> Iterator[tuple[str, int]]:
        """The path and the size of each file below a folder, in no order. Its errors are the file system's own.

        The names of objects that stand for a folder, as some stores keep them, may be among them.
        """
        for _, _, entries in self._fs.walk(path, detail=True):
            for entry in entries.values():
                yield str(entry["name"]), int(entry["size"])

    def remove_leftovers(self, before: datetime) -> None:
        """What writers that were killed before then left on its way in."""
        for file in self.list_files(self.incoming):
            if file.modified_at < before:
                with suppress(FileNotFoundError):
                    self.remove(file.path)

    def uri(self, path: str) -> str:
        return str(self._fs.unstrip_protocol(path))

    def _list(self, path: str) -> list[Any]:
        with storage_errors_explained(self.uri(path)):
            try:
                self._fs.invalidate_cache(path)
                return list(self._fs.ls(path, detail=True))
            except FileNotFoundError:
                return []

    def _write(self, source: Path, path: str, tick: Tick) -> None:
        with source.open("rb") as file, self._fs.open(path, "wb") as target:
            while chunk := file.read(_WRITE_BYTES):
                target.write(chunk)
                tick()

    def _check_size(self, path: str, size_bytes: int) -> None:
        if (arrived := self.size(path)) != size_bytes:
            raise UnavailableError(
                f"{self.uri(path)} has {arrived} of {size_bytes} bytes after it was written; try again"
            )

    def _move(self, path: str, target: str) -> None:
        # Not every file system moves a file onto another. Such a one is damaged, or it would not be replaced.
        with suppress(FileNotFoundError):
            self._fs.rm_file(target)
        self._fs.mv(path, target)


def _modified_at(fs: Any, info: dict[str, Any]) -> datetime:
    """When a listed file was written; now, the age that lets it live, where its file system does not tell."""
    for key in ("modification_time", "mtime", "LastModified", "created"):
        if (value := info.get(key)) is not None:
            return _moment(value, in_ms=key == "modification_time")
    with suppress(NotImplementedError, OSError):
        return _moment(fs.modified(info["name"]), in_ms=False)
    return datetime.now(UTC)


def _moment(value: datetime | float, *, in_ms: bool) -> datetime:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime.fromtimestamp(value / 1000 if in_ms else value, UTC)
