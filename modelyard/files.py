"""Files of programs that may be killed at any moment: written whole or not at all, in a folder one process holds."""

import fcntl
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from modelyard.errors import FailedPreconditionError


def write_whole(path: Path, content: bytes) -> None:
    """Replaces the file so that, whatever happens, either the old or the new content is there."""
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def find_temporary_folder(longest_bytes: int) -> Path:
    """The folder for temporary files, for sockets: /tmp where the path of the usual one has more bytes than that."""
    usual = Path(tempfile.gettempdir())
    return usual if len(os.fsencode(usual)) <= longest_bytes else Path("/tmp")


@contextmanager
def hold_data_folder(data: Path, program: str) -> Iterator[None]:
    """Makes the folder and keeps every other `program` out of it; the kernel lets go when this process ends, however.

    One that it makes is its owner's alone, since models are in it; one that is there keeps the rights it was given.
    Raises FailedPreconditionError that names the process which holds it.
    """
    way_out = "give another --data"
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FailedPreconditionError(f"{data} cannot be used: {error.strerror}; {way_out}") from error
    with hold_lock_file(data / f"{program}.lock", data, f"another {program}", way_out):
        yield


@contextmanager
def hold_lock_file(path: Path, guarded: object, other: str, way_out: str) -> Iterator[None]:
    """Keeps everybody else who asks for the file at `path` out of what it guards; the kernel lets go with this process.

    Raises FailedPreconditionError: `guarded` is in use by `other`, which process that is, and `way_out`.
    """
    try:
        lock = path.open("a+")
    except OSError as error:
        raise FailedPreconditionError(f"{guarded} cannot be used: {error.strerror}; {way_out}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FailedPreconditionError(
                f"{guarded} is in use by {other}, {_read_holder(lock)}: stop it, or {way_out}"
            ) from None
        lock.truncate(0)
        lock.write(json.dumps({"pid": os.getpid(), "command": " ".join(sys.argv)}))
        lock.flush()
        yield
        lock.truncate(0)


def _read_holder(lock: TextIO) -> str:
    lock.seek(0)
    try:
        holder = json.load(lock)
        return f"process {holder['pid']} ({holder['command']})"
    except (ValueError, KeyError):  # it has the lock and has not written yet
        return "a process that has just started"
