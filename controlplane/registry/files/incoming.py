"""Where uploads wait: a folder on a local disk, in which what arrived of an upload that was cut off is kept a day.

A file's name tells which content it is the beginning of, from its first byte on: so it is found again by the next try,
after a SIGKILL of the controller, too. What is in use belongs to one upload alone; who comes for the same content can
wait until it is let go, for a cut is noticed here up to 15 seconds (the server's keepalive) after the sender has.
"""

import logging
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from controlplane.registry.files.disk_room import DiskRoom
from controlplane.registry.files.storage_errors import storage_errors_explained

log = logging.getLogger(__name__)

KEPT_S = 24 * 3600.0
MOST_KEPT = 100
_NAME = re.compile(r"(?P<sha256>[0-9a-f]{64})-(?P<size>[0-9]{1,18})-[0-9a-f]{16}\.part")


@dataclass(frozen=True)
class Partial:
    """The beginning of a file of `whole_bytes`, cut off after `size_bytes`."""

    path: Path
    sha256: str
    whole_bytes: int
    size_bytes: int
    written_at: float  # seconds since 1970


@dataclass(frozen=True)
class UnderWay:
    """An upload that has not ended."""

    is_whole: bool  # all of it has arrived
    end: "Future[None]"


class Incoming:
    """`folder`: made by `prepare`. Blocking; thread-safe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.room = DiskRoom(folder, self.remove_oldest)
        self._lock = threading.Lock()
        self._in_use: dict[Path, Future[None]] = {}  # done when the upload is over

    def prepare(self) -> None:
        """Makes the folder, and removes what earlier work left that nobody can go on with."""
        with storage_errors_explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in self.folder.iterdir():
                if not _NAME.fullmatch(path.name) or not path.stat().st_size:
                    _remove(path)
        self.sweep()

    def find(self, sha256: str, whole_bytes: int) -> int:
        """How many bytes of this file the next upload could go on from."""
        self.sweep()
        return max((partial.size_bytes for partial in self._kept_of(sha256, whole_bytes)), default=0)

    def list_under_way(self, sha256: str, whole_bytes: int) -> list[UnderWay]:
        """The uploads of this file."""
        with self._lock:
            in_use = list(self._in_use.items())
        start = f"{sha256}-{whole_bytes}-"
        return [UnderWay(_has_arrived(path, whole_bytes), end) for path, end in in_use if path.name.startswith(start)]

    def claim(self, sha256: str, whole_bytes: int) -> Path:
        """A path for one upload of this file: that of the longest beginning that is kept, else a new one.

        sha256 "": not known yet, so that nothing of it can be kept.
        """
        self.sweep()
        name = f"{sha256}-{whole_bytes}-{secrets.token_hex(8)}.part" if sha256 else f"{secrets.token_hex(16)}.new"
        with self._lock:
            kept = max(self._kept_of(sha256, whole_bytes), key=lambda partial: partial.size_bytes, default=None)
            path = kept.path if kept else self.folder / name
            self._in_use[path] = Future()
        return path

    def release(self, path: Path, keep: bool) -> None:
        """The upload is over. `keep`: the next one goes on from what arrived."""
        with suppress(FileNotFoundError):
            if not (keep and _NAME.fullmatch(path.name) and path.stat().st_size):
                _remove(path)
        with self._lock:
            end = self._in_use.pop(path, None)
        if end is not None:
            end.set_result(None)

    def remove_oldest(self) -> bool:
        """Of what is kept and can be removed. False: there is nothing."""
        with self._lock:
            return any(_remove(partial.path) for partial in self._kept())

    def sweep(self) -> None:
        """Removes what is too old, and the oldest where there are too many."""
        with self._lock:
            kept = self._kept()
            for number, partial in enumerate(kept):
                # Of the future where the clock was set back: it is too old, too, or it would stay for ever.
                is_young = abs(time.time() - partial.written_at) < KEPT_S
                if not is_young or number < len(kept) - MOST_KEPT:
                    _remove(partial.path)

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A new folder beside the uploads, gone after the block, or at the next start."""
        folder = self.folder / f"{secrets.token_hex(8)}.work"
        try:
            with storage_errors_explained(folder):
                folder.mkdir()
            yield folder
        finally:
            _remove(folder)

    def _kept_of(self, sha256: str, whole_bytes: int) -> list[Partial]:
        return [partial for partial in self._kept() if (partial.sha256, partial.whole_bytes) == (sha256, whole_bytes)]

    def _kept(self) -> list[Partial]:
        """Oldest first, without those in use."""
        found: list[Partial] = []
        with storage_errors_explained(self.folder):
            for path in self.folder.iterdir():
                if (name := _NAME.fullmatch(path.name)) and path not in self._in_use:
                    with suppress(FileNotFoundError):
                        status = path.stat()
                        found.append(Partial(path, name["sha256"], int(name["size"]), status.st_size, status.st_mtime))
        return sorted(found, key=lambda partial: partial.written_at)


def _has_arrived(path: Path, whole_bytes: int) -> bool:
    try:
        return path.stat().st_size >= whole_bytes
    except OSError:
        return False  # it has only just begun, or a local store has moved it to its place, and is all but done


def _remove(path: Path) -> bool:
    """Whether it is gone."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        log.exception("%s cannot be removed; it takes room for nothing", path)
        return False
    return True
