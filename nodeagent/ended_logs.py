"""Logs of replicas that failed and are gone: why one died is often asked after something else took its place.

ended/ID/log, log.before   the end of its last run, and of the one before
"""

import logging
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from nodeagent.replica_folder import ReplicaFolder

log = logging.getLogger(__name__)

_KEPT_S = 86400.0
_MOST = 20
# Of each file: its last part, which has the reason.
_MOST_BYTES = 256 << 10


class EndedLogs:
    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self, replica: ReplicaFolder) -> None:
        """Before its folder is removed; in place of others that are too many, or too old. Blocking.

        Where the disk refuses, none is kept: that is no reason to keep the replica.
        """
        kept = ReplicaFolder(self._path / replica.path.name)
        try:
            kept.remove()
            kept.path.mkdir(mode=0o700, parents=True)
            _copy_end(replica.log, kept.log)
            _copy_end(replica.log_before, kept.log_before)
        except OSError as error:
            log.warning("the log of %s cannot be kept: %s", replica.path.name, error)
            kept.remove()
        self.remove_old(time.time())

    def find(self, replica_id: str) -> ReplicaFolder | None:
        """None where nothing is kept of it."""
        for path in self._list():
            if path.name == replica_id and (folder := ReplicaFolder(path)).log.exists():
                return folder
        return None

    def remove_old(self, now: float) -> None:
        """`now`: in seconds since 1970."""
        kept_at = {}
        for path in self._list():
            with suppress(FileNotFoundError):  # another replica that ends may have removed it
                kept_at[path] = path.stat().st_mtime
        newest_first = sorted(kept_at, key=kept_at.__getitem__, reverse=True)
        for number, path in enumerate(newest_first):
            if number >= _MOST or kept_at[path] < now - _KEPT_S:
                shutil.rmtree(path, ignore_errors=True)

    def _list(self) -> list[Path]:
        return list(self._path.iterdir()) if self._path.is_dir() else []


def _copy_end(source: Path, destination: Path) -> None:
    """Does nothing where there is none."""
    if source.exists():
        with source.open("rb") as file, destination.open("wb") as copy:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _MOST_BYTES))
            shutil.copyfileobj(file, copy)
