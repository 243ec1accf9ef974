"""The files of a router: its folder held by one process, its writes whole or not at all, its sockets on short paths."""

import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelyard.errors import FailedPreconditionError

_MAX_FOLDER_BYTES = 80  # a unix socket's path has at most 107 bytes, its file name here at most 25


def write_whole(path: Path, content: bytes) -> None:
    """Replaces the file so that, whatever happens, either the old or the new content is there."""
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


@contextmanager
def hold_data_folder(data: Path) -> Iterator[None]:
    """Makes the folder, and keeps every other router out of it. Raises FailedPreconditionError naming its holder."""
    data.mkdir(parents=True, exist_ok=True)
    with (data / "router.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise FailedPreconditionError(
                f"{data} is in use by another router, process {lock.read().strip()}: stop it, or give another --data"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def make_run_folder(data: Path) -> Path:
    """A folder for sockets that nobody else can enter: in `data`, or among temporary files where that path is long."""
    folder = data.resolve() / "run"
    if len(os.fsencode(folder)) > _MAX_FOLDER_BYTES:
        digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
        folder = Path(tempfile.gettempdir()) / f"modelyard-{os.geteuid()}-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise FailedPreconditionError(f"{folder} belongs to somebody else: remove it, or give a shorter --data")
    folder.chmod(0o700)
    return folder
