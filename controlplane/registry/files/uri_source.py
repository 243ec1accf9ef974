"""A model that the controller reads itself: a file or a folder, wherever fsspec can reach. Blocking.

A folder is read as the tar that `modelyard.packing` makes of it, file by file, so that it has the same content as one
that was sent.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import unquote

from controlplane.registry.files.artifact_backend import Backend
from controlplane.registry.files.artifact_backends import backend_of
from controlplane.registry.files.file_systems import WEB, is_local, open_file_system, scheme_of
from controlplane.registry.files.readers import ReaderFile
from controlplane.registry.files.storage_errors import storage_errors_explained
from modelyard.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
    YardError,
)
from modelyard.packing import MOST_FILES, PackedFile, check_path, list_files, pack_from, packed_size_bytes

_LONGEST_URI = 2_000
_READ_BYTES = 4 << 20
_GONE = (404, 410)
_NO_ACCESS = (401, 403, 407)


@dataclass(frozen=True)
class UriSource:
    """`size_bytes`: of what `read` gives; None where its place does not tell."""

    uri: str
    size_bytes: int | None
    _fs: Any
    _root: str
    _files: list[PackedFile] | None  # None: a file, not a folder

    def read(self) -> Iterator[bytes]:
        """In chunks of some MiB. YardError."""
        with storage_errors_explained(self.uri):
            if self._files is not None:
                yield from pack_from(lambda path: self._open(f"{self._root}/{path}"), self._files)
                return
            with self._open(self._root) as file:
                while chunk := file.read(_READ_BYTES):
                    yield chunk

    def _open(self, path: str) -> BinaryIO:
        backend = backend_of(scheme_of(self.uri), self._fs, "")
        if type(backend) is not Backend:
            return cast(BinaryIO, ReaderFile(backend.open(path)))
        # Not by ranges: many a web server knows none, and 0 has its file read as one stream.
        options = {"block_size": 0} if scheme_of(self.uri) in WEB else {}
        return cast(BinaryIO, self._fs.open(path, "rb", **options))


def check_uri(uri: str, prefixes: tuple[str, ...]) -> None:
    """InvalidArgumentError for what is no URI, or begins with none of `prefixes`; none given: all may be read.

    A controller reads with its own rights, on its own host: prefixes keep people from what is not theirs.
    """
    scheme = scheme_of(uri)
    if not scheme or not uri.isprintable() or len(uri) > _LONGEST_URI:
        raise InvalidArgumentError(
            f"{uri[:200]!r} is no URI that can be read; name one such as s3://bucket/model.onnx or file:///models/resnet"
        )
    if not uri.partition("://")[2].strip("/"):
        raise InvalidArgumentError(f"{uri} names no file; name the model's file or folder there")
    if "::" in uri or ".." in re.split("[/?#]", unquote(uri)):  # a web server takes %2e%2e for the same
        raise InvalidArgumentError(f"{uri[:200]!r} has '::' or '..' in it; name the file or folder itself")
    asked = _as_asked(uri)
    if prefixes and not any(_is_below(asked, prefix) for prefix in prefixes):
        raise InvalidArgumentError(
            f"this controller does not read {uri[:200]!r}; it may read what begins with {', '.join(prefixes)}, "
            "others are registered from a file of yours"
        )


def _as_asked(uri: str) -> str:
    """What a web server will be asked for; other URIs as they are."""
    if scheme_of(uri) not in WEB:
        return uri
    try:
        from yarl import URL
    except ImportError:  # nothing of the web can be read without it
        return uri
    try:
        return str(URL(uri).with_query(None).with_fragment(None))
    except ValueError as error:
        raise InvalidArgumentError(f"{uri[:200]!r} is no address of the web: {error}") from error


def without_password(uri: str) -> str:
    """What may be kept and shown of it: no user, no password, no signed query."""
    scheme, _, rest = uri.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


def open_uri(uri: str, prefixes: tuple[str, ...]) -> UriSource:
    """Finds out what is there. YardError that says what is wrong with it; NotFoundError where there is nothing."""
    check_uri(uri, prefixes)
    with storage_errors_explained(without_password(uri)):
        fs, root = open_file_system(uri, follow_redirects=not prefixes)
    root = root.rstrip("/")
    if is_local(fs):
        resolved = Path(root).resolve()
        check_uri(f"file://{resolved}", tuple(map(_resolve, prefixes)))  # a link may lead elsewhere
        root = str(resolved)
    with storage_errors_explained(without_password(uri)):
        try:
            info = fs.info(root)
        except FileNotFoundError as error:
            raise _explain_missing(without_password(uri), error) from error
        if info["type"] == "directory":
            files = list_files(Path(root)) if is_local(fs) else _list_remote(fs, root, uri)
            if not files:
                raise InvalidArgumentError(f"{uri} is a folder without files; name the model's own folder")
            return UriSource(uri, packed_size_bytes(files), fs, root, files)
    if info["type"] != "file":
        raise InvalidArgumentError(f"{uri} is neither a file nor a folder; name the model's file")
    size = info.get("size")
    return UriSource(uri, None if size is None else int(size), fs, root, None)


def _explain_missing(uri: str, error: FileNotFoundError) -> YardError:
    """fsspec says of whatever a web server answers, or of none that answers, that there is no such file."""
    cause = error.__cause__
    status = getattr(cause, "status", None)
    if scheme_of(uri) not in WEB or cause is None or status in _GONE:
        return NotFoundError(f"there is nothing at {uri}; see whether it is spelled right")
    if status in _NO_ACCESS:
        return FailedPreconditionError(f"the controller may not read {uri} (HTTP {status}); give it access")
    if isinstance(cause, YardError):
        return cause
    reason = f"HTTP {status}" if status else str(cause) or type(cause).__name__
    return UnavailableError(f"{uri} cannot be read now ({reason}); see to that and try again")


def _list_remote(fs: Any, root: str, uri: str) -> list[PackedFile]:
    files: list[PackedFile] = []
    for name, size_bytes in backend_of(scheme_of(uri), fs, "").walk(root):
        # Object stores keep empty objects with a folder's name.
        if name.rstrip("/") == root or name.endswith("/"):
            continue
        files.append(PackedFile(check_path(name.removeprefix(f"{root}/")), size_bytes))
        if len(files) > MOST_FILES:
            raise InvalidArgumentError(f"{uri} has more than {MOST_FILES} files; a model has fewer")
    return sorted(files, key=lambda file: file.path.encode())


def _resolve(prefix: str) -> str:
    """That of a folder of this machine, without links."""
    scheme, _, path = prefix.partition("://")
    return f"file://{Path(path).resolve()}" if scheme.lower() == "file" else prefix


def _is_below(uri: str, prefix: str) -> bool:
    return uri == prefix or uri.startswith(prefix.rstrip("/") + "/")
