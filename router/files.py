"""Where a router keeps its sockets: on paths short enough for them."""

import hashlib
import os
import stat
from pathlib import Path

from modelyard.errors import FailedPreconditionError
from modelyard.files import find_temporary_folder

_MAX_FOLDER_BYTES = 80  # a unix socket's path has at most 107 bytes, its file name here at most 25


def make_run_folder(data: Path) -> Path:
    """A folder for sockets that nobody else can enter: in `data`, or among temporary files where that path is long."""
    folder = data.resolve() / "run"
    if len(os.fsencode(folder)) > _MAX_FOLDER_BYTES:
        digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
        name = f"modelyard-{os.geteuid()}-{digest}"
        folder = find_temporary_folder(_MAX_FOLDER_BYTES - len(f"/{name}")) / name
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise FailedPreconditionError(f"{folder} belongs to somebody else: remove it, or give a shorter --data")
    folder.chmod(0o700)
    return folder
