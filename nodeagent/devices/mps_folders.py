"""Where an MPS daemon keeps its sockets and logs.

The path of a Unix socket has at most 107 bytes, and a data folder may lie deep: then the sockets go into the folder for
temporary files, under a name that the next agent on this data folder finds again.
"""

import hashlib
import os
import re
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from modelyard.errors import FailedPreconditionError
from modelyard.files import find_temporary_folder
from nodeagent.devices.gpu_environment import MpsFolders

# sun_path has 108 bytes, the last of them zero: see unix(7).
_LONGEST_SOCKET = 107
# The longest name that the daemon gives a socket.
_LONGEST_NAME = len("/control_privileged")
# In the folder of logs: what the daemon and its server say, one that stays in the foreground says it all there.
OUTPUT = "output"
_OUTPUT_LIMIT_BYTES = 4 << 20
_UNUSUAL = re.compile(r"[^A-Za-z0-9-]")


def choose_folders(data: Path, uuid: str, temporary: Path | None = None) -> MpsFolders:
    """Those of the daemon of one GPU. `data`: where the agent keeps what it knows of all of them."""
    folder = data / _UNUSUAL.sub("_", uuid)
    pipe = folder / "pipe"
    if len(os.fsencode(pipe)) + _LONGEST_NAME > _LONGEST_SOCKET:
        name = f"modelyard-mps-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"
        pipe = (temporary or find_temporary_folder(_LONGEST_SOCKET - _LONGEST_NAME - len(f"/{name}"))) / name
    return MpsFolders(pipe, folder / "log")


def prepare_folders(folders: MpsFolders) -> None:
    """Makes them, empty, and nobody else's. Raises FailedPreconditionError and OSError."""
    for folder in (folders.pipe, folders.log):
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.path.lexists(folder):
            if not _is_own(folder):
                raise FailedPreconditionError(
                    f"{folder} is not this user's folder; remove it, or give a shorter --data"
                )
            shutil.rmtree(folder)
        folder.mkdir(mode=0o700)


def remove_pipe(folders: MpsFolders) -> None:
    """Once no daemon uses it; what is somebody else's stays. So do the logs, for people to read."""
    if _is_own(folders.pipe):
        shutil.rmtree(folders.pipe, ignore_errors=True)


def trim_output(folders: MpsFolders) -> None:
    """Each look at the daemon makes it say some lines more. It appends to the file, so this can be emptied in place."""
    output = folders.log / OUTPUT
    with suppress(OSError):  # a log that is too long is no reason to look at the daemon no more
        if output.stat().st_size > _OUTPUT_LIMIT_BYTES:
            os.truncate(output, 0)


def read_last_words(folders: MpsFolders, lines: int = 3) -> str:
    """The end of what the daemon said, as one line; "" where it said nothing."""
    for name in (OUTPUT, "control.log"):
        path = folders.log / name
        if path.exists() and (text := path.read_bytes()[-4000:].decode(errors="replace").strip()):
            return "; ".join(line.strip() for line in text.splitlines()[-lines:])[:400]
    return ""


def _is_own(folder: Path) -> bool:
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
