"""A model in the cache: its one file, or the folder that its packed file was unpacked into.

A folder is told and verified by what it would be packed to (modelyard.packing). Its files and folders are read-only.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from modelyard.errors import DataLossError, InvalidArgumentError
from modelyard.packing import CHUNK_BYTES, list_files, pack, packed_size_bytes, unpack

Looks = tuple[tuple[str, int, int, int], ...]


def size_bytes(path: Path) -> int:
    """Of the file that was registered; -1 where there is none, or nothing that could be verified."""
    if not path.exists():
        return -1
    if not path.is_dir():
        return path.stat().st_size
    try:
        return packed_size_bytes(list_files(path))
    except InvalidArgumentError:
        return -1


def disk_bytes(path: Path) -> int:
    return sum(file.lstat().st_size for file in _files(path))


def looks(path: Path) -> Looks:
    """What shows whether it was changed, short of reading it."""
    stats = ((str(file.relative_to(path)), file.lstat()) for file in _files(path))
    return tuple(sorted((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats))


def compute_sha256(path: Path) -> str:
    """Of the file that was registered; "" for a folder that could not have been unpacked from one."""
    digest = hashlib.sha256()
    try:
        for chunk in pack(path, list_files(path)) if path.is_dir() else _read(path):
            digest.update(chunk)
    except InvalidArgumentError:
        return ""
    return digest.hexdigest()


def touch(path: Path) -> None:
    """Notes its use. Disks are often mounted so that reading does not; the time of change has to stay as it is."""
    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def remove(path: Path) -> None:
    """Does nothing where it is gone."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    for folder in _folders(path):
        folder.chmod(0o700)
    shutil.rmtree(path)


def publish_file(partial: Path, path: Path) -> None:
    """Gives the file its name, after its bytes are on the disk."""
    _sync(partial)
    partial.chmod(0o444)
    partial.replace(path)
    _sync(path.parent)


def unpack_whole(packed: Path, folder: Path) -> None:
    """Makes `folder`, read-only and on the disk, of a packed file. Raises DataLossError, OSError; then none is left."""
    try:
        remove(folder)
        folder.mkdir(mode=0o700)
        with packed.open("rb") as source:
            unpack(source, folder)
        for file in _files(folder):
            _sync(file)
            file.chmod(0o444)
        for inner in reversed(list(_folders(folder))):
            _sync(inner)
            inner.chmod(0o555)
    except InvalidArgumentError as error:
        remove(folder)
        raise DataLossError(f"{error.message}; register the model again") from error
    except OSError:
        remove(folder)
        raise


def publish_folder(folder: Path, path: Path) -> None:
    folder.rename(path)
    _sync(path.parent)


def _files(path: Path) -> Iterator[Path]:
    """All that is no folder in it, or the file itself."""
    inside = path.rglob("*") if path.is_dir() else iter([path])
    return (file for file in inside if file.is_symlink() or not file.is_dir())


def _folders(path: Path) -> Iterator[Path]:
    """Itself and those in it, the outer ones first: they are opened on the way."""
    yield path
    for child in path.iterdir():
        if child.is_dir() and not child.is_symlink():
            yield from _folders(child)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
