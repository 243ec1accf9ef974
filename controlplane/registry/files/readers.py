"""Stored files, read from some place on to their end. Blocking; a reader may be used by one thread at a time."""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from modelyard.errors import DataLossError

BLOCK_BYTES = 1 << 20
# A stream is read ahead by the library, as far as it likes: it has no more than this to read ahead.
_STREAM_BYTES = 8 << 20
# What has to be asked for anew each time is asked for rarely.
_RANGE_BYTES = 4 << 20


class Reader(Protocol):
    size_bytes: int  # of the file
    block_bytes: int  # read so much at once

    def seek(self, offset_bytes: int) -> None:
        """Before the first read."""

    def read(self, size_bytes: int) -> bytes:
        """So many bytes, which must lie in the file; fewer where it has lost some meanwhile."""

    def close(self) -> None: ...


def read_block(reader: Reader, offset_bytes: int) -> bytes:
    """The block that begins there, where the last one ended. DataLossError where the file has lost it."""
    size_bytes = min(reader.block_bytes, reader.size_bytes - offset_bytes)
    block = reader.read(size_bytes)
    if len(block) != size_bytes:
        raise DataLossError(f"the stored file ends after {offset_bytes + len(block)} of {reader.size_bytes} bytes")
    return block


class LocalReader:
    """Goes on even where the file is removed meanwhile."""

    block_bytes = BLOCK_BYTES

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        self.size_bytes = os.fstat(self._descriptor).st_size

    def seek(self, offset_bytes: int) -> None:
        os.lseek(self._descriptor, offset_bytes, os.SEEK_SET)

    def read(self, size_bytes: int) -> bytes:
        return os.read(self._descriptor, size_bytes)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class HdfsReader:
    """`file`: an hdfs_native.FileReader, which has found the file's blocks already."""

    block_bytes = BLOCK_BYTES

    def __init__(self, file: Any) -> None:
        self._file = file
        self.size_bytes: int = len(file)
        self._offset_bytes = 0
        # Its ranges come as streams: asked for block by block they take twice the time, and memory.
        self._parts: Iterator[bytes] = iter(())
        self._rest = b""

    def seek(self, offset_bytes: int) -> None:
        self._offset_bytes = offset_bytes

    def read(self, size_bytes: int) -> bytes:
        block = bytearray(self._rest)
        while len(block) < size_bytes and (part := self._next_part()):
            block += part
        self._rest = bytes(block[size_bytes:])
        return bytes(block[:size_bytes])

    def _next_part(self) -> bytes:
        """b"" at the end of the file."""
        while not (part := next(self._parts, b"")) and self._offset_bytes < self.size_bytes:
            size_bytes = min(_STREAM_BYTES, self.size_bytes - self._offset_bytes)
            self._parts = iter(self._file.read_range_stream(self._offset_bytes, size_bytes))
            self._offset_bytes += size_bytes
        return part

    def close(self) -> None:
        self._parts = iter(())


class S3Reader:
    """One object as one stream, which is asked for again from where it was when it breaks."""

    block_bytes = BLOCK_BYTES
    _ATTEMPTS = 3

    def __init__(self, fs: Any, path: str, size_bytes: int) -> None:
        self._fs = fs
        self._bucket, self._key, _ = fs.split_path(path)
        self.size_bytes = size_bytes
        self._offset_bytes = 0
        self._body: Any = None

    def seek(self, offset_bytes: int) -> None:
        self._offset_bytes = offset_bytes

    def read(self, size_bytes: int) -> bytes:
        for attempt in range(1, self._ATTEMPTS + 1):
            try:
                block = self._read(size_bytes)
            except Exception:
                self.close()
                if attempt == self._ATTEMPTS:
                    raise
            else:
                self._offset_bytes += len(block)
                return block
        raise AssertionError("unreachable")

    def close(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            self._fs.loop.call_soon_threadsafe(body.close)

    def _read(self, size_bytes: int) -> bytes:
        from fsspec.asyn import sync

        if self._body is None:
            wanted = f"bytes={self._offset_bytes}-"
            answer = self._fs.call_s3("get_object", Bucket=self._bucket, Key=self._key, Range=wanted)
            self._body = answer["Body"]
        return bytes(sync(self._fs.loop, _read_exactly, self._body, size_bytes))


class FsspecReader:
    block_bytes = _RANGE_BYTES

    def __init__(self, fs: Any, path: str, size_bytes: int) -> None:
        self._fs, self._path = fs, path
        self.size_bytes = size_bytes
        self._offset_bytes = 0

    def seek(self, offset_bytes: int) -> None:
        self._offset_bytes = offset_bytes

    def read(self, size_bytes: int) -> bytes:
        start, end = self._offset_bytes, self._offset_bytes + size_bytes
        self._offset_bytes = end
        return bytes(self._fs.cat_file(self._path, start=start, end=end))

    def close(self) -> None:
        """Nothing is held open between two reads."""


class ReaderFile(io.RawIOBase):
    """A reader as a file that is read from its beginning to its end."""

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self._reader = reader
        self._offset_bytes = 0
        self._rest = b""

    def read(self, size_bytes: int) -> bytes:  # type: ignore[override]
        """Some bytes, at most `size_bytes`; none at the end."""
        if not self._rest and self._offset_bytes < self._reader.size_bytes:
            self._rest = read_block(self._reader, self._offset_bytes)
            self._offset_bytes += len(self._rest)
        part, self._rest = self._rest[:size_bytes], self._rest[size_bytes:]
        return part

    def close(self) -> None:
        self._reader.close()
        super().close()


async def _read_exactly(body: Any, size_bytes: int) -> bytearray:
    block = bytearray()
    while len(block) < size_bytes and (part := await body.read(size_bytes - len(block))):
        block += part
    return block
