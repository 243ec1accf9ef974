"""Unpacks archives that somebody sent: zip, and tar as it is or compressed. Nothing lands outside the folder given.

Both kinds are read as a stream and counted on the way: what an archive says of its own sizes is not believed. The only
limit to how far it may unpack is the whole, since weights of one value compress a thousandfold.
"""

import bz2
import errno
import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from controlplane.registry.formats.file_kinds import BZIP2_TAG, GZIP_TAG, XZ_TAG, describe_members, is_zip
from modelyard.errors import InvalidArgumentError
from modelyard.packing import CHUNK_BYTES, MOST_FILES, check_path

_OPENERS: Mapping[bytes, Callable[[Any], Any]] = {
    GZIP_TAG: gzip.open,
    BZIP2_TAG: bz2.open,
    XZ_TAG: lzma.open,
}
_MOST_ENTRIES = 2 * MOST_FILES  # folders among them
_MOST_HEADER_BYTES = 64 << 10
# What tar's own headers may add, and what may follow its end.
_TAR_EXTRA_BYTES = 64 << 20
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    ValueError,
    NotImplementedError,
)
_MAC_FOLDER, _MAC_FILE, _MAC_PREFIX = "__MACOSX", ".DS_Store", "._"


class _Entry(NamedTuple):
    path: str
    content: IO[bytes]


def unpack_archive(path: Path, folder: Path, max_bytes: int) -> None:
    """Writes the archive's files into `folder`, which must be new and empty.

    InvalidArgumentError for one that is damaged, unpacks to more than `max_bytes`, or has entries that a model's
    folder cannot have; OSError. What it has written by then stays: remove the folder.
    """
    with path.open("rb") as file:
        head = file.read(tarfile.BLOCKSIZE)
        file.seek(0)
        entries = _zip_entries(file, max_bytes) if is_zip(head) else _tar_entries(file, head, max_bytes)
        try:
            _write_entries(entries, folder, max_bytes)
        except _DAMAGED as error:
            raise InvalidArgumentError(f"the archive is cut off or damaged ({error}); copy or pack it again") from error
        except OSError as error:
            # Of wrong input: gzip and bz2 raise it without a number, and zipfile seeks where no file has a byte.
            if error.errno not in (None, errno.EINVAL):
                raise
            raise InvalidArgumentError(f"the archive is cut off or damaged ({error}); copy or pack it again") from error


def _write_entries(entries: Iterator[_Entry], folder: Path, max_bytes: int) -> None:
    left_bytes = max_bytes
    files: set[str] = set()
    folders: set[str] = set()
    for entry in entries:
        if _is_of_a_mac(entry.path):
            continue
        _refuse_clash(entry.path, files, folders)
        target = folder / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while chunk := entry.content.read(CHUNK_BYTES):
                left_bytes -= len(chunk)
                if left_bytes < 0:
                    raise _too_large(max_bytes)
                file.write(chunk)


def _refuse_clash(path: str, files: set[str], folders: set[str]) -> None:
    """Also takes note of the path."""
    above = {path[:index] for index, character in enumerate(path) if character == "/"}
    if path in files or path in folders or above & files:
        raise InvalidArgumentError(f"the archive has {path[:200]!r} twice; pack the model's folder again")
    files.add(path)
    folders |= above
    if len(files) > MOST_FILES:
        raise InvalidArgumentError(f"the archive has more than {MOST_FILES} files; pack only the model's folder")


def _is_of_a_mac(path: str) -> bool:
    parts = path.split("/")
    return parts[0] == _MAC_FOLDER or parts[-1] == _MAC_FILE or parts[-1].startswith(_MAC_PREFIX)


def _too_large(max_bytes: int) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"the archive unpacks to more than {max_bytes} bytes, the most that this controller takes (max_model_bytes); "
        "pack only the model's folder"
    )


def _zip_entries(file: IO[bytes], max_bytes: int) -> Iterator[_Entry]:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        _refuse_too_many(len(members))
        if sum(member.file_size for member in members) > max_bytes:
            raise _too_large(max_bytes)
        # Before anything is written: these can be large.
        if kind := describe_members([member.filename for member in members]):
            raise InvalidArgumentError(f"the file is not a model that can be served; it looks like {kind}")
        for member in members:
            if not member.filename.endswith("/"):  # its own is_dir fails for an empty name
                _refuse_odd_member(member)
                with archive.open(member) as content:
                    yield _Entry(check_path(member.filename), content)


def _refuse_odd_member(member: zipfile.ZipInfo) -> None:
    if member.flag_bits & 1:
        raise InvalidArgumentError(
            f"{member.filename[:200]!r} is encrypted; pack the model's folder without a password"
        )
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise _not_plain(member.filename)


def _tar_entries(file: IO[bytes], head: bytes, max_bytes: int) -> Iterator[_Entry]:
    opener = next((opener for tag, opener in _OPENERS.items() if head.startswith(tag)), None)
    source = _LimitedReader(opener(file) if opener else file, max_bytes)
    try:
        archive = tarfile.open(fileobj=source, mode="r|", tarinfo=_StrictTarInfo)  # type: ignore[call-overload]  # noqa: SIM115
    except tarfile.ReadError as error:
        if opener and source.read_bytes:
            raise InvalidArgumentError(
                "the file is compressed and holds no tar; register the model's file as it is, or its folder as .zip or "
                ".tar.gz"
            ) from error
        raise
    with archive:
        for count, member in enumerate(archive, 1):
            _refuse_too_many(count)
            path = _without_dot(member.name)
            if member.isdir():
                continue
            if not member.isreg() or member.issparse():
                raise _not_plain(member.name)
            content = archive.extractfile(member)
            assert content is not None
            yield _Entry(check_path(path), content)
    while source.read(CHUNK_BYTES):
        pass  # to where the compressed stream has its checksum


def _refuse_too_many(entries: int) -> None:
    if entries > _MOST_ENTRIES:
        raise InvalidArgumentError(f"the archive has more than {_MOST_ENTRIES} entries; pack only the model's folder")


def _without_dot(name: str) -> str:
    """`tar -C folder .` begins each name with "./"."""
    while name.startswith("./"):
        name = name[2:]
    return name


def _not_plain(name: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"the archive holds {name[:200]!r}, which is a link or no plain file; pack the files themselves "
        "(tar: --dereference --hard-dereference)"
    )


class _LimitedReader:
    """A file that ends with an error where it gives more than a tar of `max_bytes` has."""

    def __init__(self, file: IO[bytes], max_bytes: int) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self.read_bytes = 0

    def read(self, size_bytes: int) -> bytes:
        chunk = self._file.read(size_bytes)
        self.read_bytes += len(chunk)
        if self.read_bytes > self._max_bytes + _TAR_EXTRA_BYTES:
            raise _too_large(self._max_bytes)
        return chunk


class _StrictTarInfo(tarfile.TarInfo):
    """Left to itself, tarfile takes a damaged header for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_StrictTarInfo":
        if len(buf) != tarfile.BLOCKSIZE:
            raise tarfile.ReadError("it ends before its end mark")
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if not any(buf):
                raise  # the end mark
            raise tarfile.ReadError(str(error)) from error
        is_header = info.type not in tarfile.REGULAR_TYPES and info.type != tarfile.DIRTYPE
        if info.size < 0 or (is_header and info.size > _MOST_HEADER_BYTES):
            raise InvalidArgumentError("the archive is damaged: a header in it has no sensible size; pack it again")
        return info
