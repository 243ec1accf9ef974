"""Stored files on their way here: read on where a cut connection left them, checked, written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from modelyard import packing
from modelyard.cli.byte_progress import ByteProgress, show_bytes
from modelyard.cli.controller import Controller
from modelyard.cli.reconnecting import Reconnecting
from modelyard.errors import DataLossError, FailedPreconditionError, UnavailableError


@contextmanager
def written_whole(destination: Path) -> Iterator[Path]:
    """A path beside `destination` that takes its place at the end of the block, or is removed with all that is in it.

    Raises FailedPreconditionError where something is there already, or the folder that it is to be in is not.
    """
    destination = destination.absolute()
    _check_is_free(destination)
    temporary = destination.with_name(f".{destination.name}.{secrets.token_hex(4)}.partial")
    try:
        yield temporary
        temporary.replace(destination)
    finally:
        _remove(temporary)


def read_artifact(yard: Controller, sha256: str, progress: ByteProgress) -> Iterator[bytes]:
    """The bytes with this SHA-256. DataLossError at their end where they are others."""
    from modelyard.v1 import registry_pb2

    hasher, done_bytes = hashlib.sha256(), 0
    reconnecting = Reconnecting(progress)
    while True:
        request = registry_pb2.ReadArtifactRequest(sha256=sha256, offset_bytes=done_bytes)
        try:
            for response in yard.registry.ReadArtifact(request, timeout_s=None):
                hasher.update(response.chunk)
                done_bytes += len(response.chunk)
                reconnecting.reset()
                progress.set(done_bytes)
                yield response.chunk
            break
        except UnavailableError as error:
            if not done_bytes:
                raise
            reconnecting.wait(error)
    if hasher.hexdigest() != sha256:
        raise DataLossError(f"the bytes that arrived are not those of {sha256}: nothing was kept; try again")


def write_model(yard: Controller, version: Any, destination: Path) -> None:
    """Its file, or the folder that it is, at this new path. What it has written when it raises stays."""
    from modelyard.v1 import resources_pb2

    check_has_file(version)
    with show_bytes(f"fetching {version.model_id}", version.size_bytes) as progress:
        chunks = read_artifact(yard, version.sha256, progress)
        if version.packaging == resources_pb2.PACKAGING_TAR:
            _unpack(chunks, destination)
        else:
            _write(chunks, destination)


def read_small(yard: Controller, sha256: str, what: str) -> bytes:
    """A file that fits into memory, such as a sample."""
    with show_bytes(f"fetching {what}") as progress:
        return b"".join(read_artifact(yard, sha256, progress))


def check_has_file(version: Any) -> None:
    """FailedPreconditionError for a version whose files are gone."""
    if version.HasField("purge_time"):
        raise FailedPreconditionError(f"the files of {version.model_id} were purged: its record alone is left")


def _check_is_free(destination: Path) -> None:
    if destination.is_symlink() or destination.exists():
        raise FailedPreconditionError(f"{destination} is there already: give a new path, or remove it first")
    if not destination.parent.is_dir():
        raise FailedPreconditionError(f"there is no folder {destination.parent}: make it first")


def _write(chunks: Iterator[bytes], destination: Path) -> None:
    with destination.open("xb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _unpack(chunks: Iterator[bytes], destination: Path) -> None:
    destination.mkdir()
    stream = _Stream(chunks)
    packing.unpack(cast(BinaryIO, stream), destination)
    stream.read_to_end()  # for the checksum is looked at behind the last byte


class _Stream:
    """Chunks as the file that tarfile reads."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = memoryview(b"")

    def read(self, size: int) -> bytes:
        parts: list[memoryview] = []
        wanted = size
        while wanted > 0 and (self._left or self._fill()):
            parts.append(self._left[:wanted])
            self._left = self._left[wanted:]
            wanted -= len(parts[-1])
        return b"".join(parts)

    def read_to_end(self) -> None:
        for _ in self._chunks:
            pass

    def _fill(self) -> bool:
        self._left = memoryview(next(self._chunks, b""))
        return bool(self._left)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
