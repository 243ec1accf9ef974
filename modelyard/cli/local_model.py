"""A model on this machine as the bytes that are sent: a file as it is, a folder packed on the way, no copy."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from modelyard.errors import InvalidArgumentError
from modelyard.packing import list_files, pack, packed_size_bytes

_CHUNK_BYTES = 1 << 20


class LocalModel:
    """Raises InvalidArgumentError for what can be opened and has no end, or nothing in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files = list_files(path) if path.is_dir() else None
        if self._files is None:
            _check_file(path)
        elif not self._files:
            raise InvalidArgumentError(f"{path} has no file in it: give the folder that the model was saved to")
        self.size_bytes = path.stat().st_size if self._files is None else packed_size_bytes(self._files)

    def read(self, offset_bytes: int = 0) -> Iterator[bytes]:
        """From that byte on, in chunks. Raises InvalidArgumentError where a folder was changed meanwhile, OSError."""
        if self._files is None:
            yield from _read_file(self.path, offset_bytes)
            return
        for chunk in pack(self.path, self._files):
            if offset_bytes < len(chunk):
                yield chunk[offset_bytes:]
            offset_bytes = max(offset_bytes - len(chunk), 0)

    def compute_sha256(self, tell: Callable[[int], None]) -> str:
        """Of all that `read` gives. `tell` is called with how many bytes were read."""
        sha256, done_bytes = hashlib.sha256(), 0
        for chunk in self.read():
            sha256.update(chunk)
            done_bytes += len(chunk)
            tell(done_bytes)
        return sha256.hexdigest()


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise InvalidArgumentError(f"{path} is not a regular file: give the model's own file, or its folder")
    if not path.stat().st_size:
        raise InvalidArgumentError(f"{path} is empty: was it written to its end?")


def _read_file(path: Path, offset_bytes: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset_bytes)
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
