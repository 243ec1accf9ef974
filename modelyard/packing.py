"""A model's folder as one file, so that it can be kept, sent and recognised by its content.

The file is a tar that depends on the names and the bytes of the folder's files and on nothing else: the same model
gives the same SHA-256 whoever packs it, and from whatever archive it came. Empty folders, times, owners and modes are
left out.
"""

import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from modelyard.errors import InvalidArgumentError

CHUNK_BYTES = 1 << 20
MOST_FILES = 10_000
_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)
_LONGEST_PATH = 1000
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True)
class PackedFile:
    path: str  # in the folder, with "/"
    size_bytes: int


def check_path(path: str) -> str:
    """The path itself. Raises InvalidArgumentError for one that leads out of a folder, or that some disk refuses."""
    parts = path.split("/")
    is_odd = any(part in ("", ".", "..") or len(part.encode(errors="replace")) > 255 for part in parts)
    if is_odd or len(path) > _LONGEST_PATH or _CONTROL.search(path) or not _is_text(path):
        raise InvalidArgumentError(
            f"{path[:200]!r} cannot be the path of a file in a model's folder: it must lie below it, "
            "without '..', '\\', control characters or an empty part"
        )
    return path


def list_files(folder: Path) -> list[PackedFile]:
    """The folder's files in the order in which they are packed. Raises InvalidArgumentError, OSError.

    Links and whatever else is no plain file are refused: what they lead to is not the model's.
    """
    files: list[PackedFile] = []
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            continue
        name = check_path(str(PurePosixPath(path.relative_to(folder))))
        if path.is_symlink() or not path.is_file():
            raise InvalidArgumentError(f"{path} is a link or no plain file; put the file itself into the folder")
        files.append(PackedFile(name, path.stat().st_size))
        if len(files) > MOST_FILES:
            raise InvalidArgumentError(f"{folder} has more than {MOST_FILES} files; a model has fewer")
    return sorted(files, key=lambda file: file.path.encode())


def packed_size_bytes(files: list[PackedFile]) -> int:
    return sum(len(_header(file)) + file.size_bytes + _padding(file.size_bytes) for file in files) + len(_END)


def pack(folder: Path, files: list[PackedFile]) -> Iterator[bytes]:
    """The tar, in chunks, none of them empty.

    Raises InvalidArgumentError where a file has not the size that `list_files` saw, OSError.
    """
    return pack_from(lambda path: (folder / path).open("rb"), files)


def pack_from(open_file: Callable[[str], BinaryIO], files: list[PackedFile]) -> Iterator[bytes]:
    """As `pack`, from wherever `open_file` finds the files by their paths."""
    for file in files:
        yield _header(file)
        left = file.size_bytes
        with open_file(file.path) as source:
            while chunk := source.read(min(CHUNK_BYTES, left + 1)):
                left -= len(chunk)
                if left < 0:
                    break
                yield chunk
        if left:
            raise InvalidArgumentError(f"{file.path} was changed while it was read; register it again")
        if padding := _padding(file.size_bytes):
            yield bytes(padding)
    yield _END


def unpack(source: BinaryIO, folder: Path) -> None:
    """Writes the files of a tar that `pack` made into `folder`, which must be new and empty.

    Raises InvalidArgumentError for any other tar, OSError. What it has written by then stays: remove the folder.
    """
    try:
        with tarfile.open(fileobj=source, mode="r|") as archive:
            for member in archive:
                _unpack_member(archive, member, folder)
    except (tarfile.TarError, EOFError) as error:
        raise InvalidArgumentError(f"the packed model is damaged: {error}") from error


def _unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    if not member.isreg():
        raise InvalidArgumentError(f"the packed model holds {member.name[:200]!r}, which is no plain file")
    target = folder / check_path(member.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    content = archive.extractfile(member)
    assert content is not None
    with target.open("xb") as file:
        while chunk := content.read(CHUNK_BYTES):
            file.write(chunk)


def _header(file: PackedFile) -> bytes:
    info = tarfile.TarInfo(file.path)
    info.size = file.size_bytes
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def _padding(size_bytes: int) -> int:
    return -size_bytes % _BLOCK


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
