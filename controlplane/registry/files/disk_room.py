"""Room for files on their way in: promised before the first byte, so that uploads together never fill the disk."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from controlplane.registry.files.storage_errors import storage_errors_explained
from modelyard.errors import ResourceExhaustedError

# What uploads must leave free: the database is on the same disk as a rule, and must go on.
_SPARE_BYTES = 64 << 20


class DiskRoom:
    """The disk that `folder` is on. Thread-safe.

    `free_some` is called where there is no room: True where it has removed something that can be done without.
    """

    def __init__(self, folder: Path, free_some: Callable[[], bool]) -> None:
        self._folder = folder
        self._free_some = free_some
        self._lock = threading.Lock()
        # To uploads that have not written them yet.
        self._promised_bytes = 0

    def promise(self, size_bytes: int) -> "Promise":
        """ResourceExhaustedError where a file of that size has no room beside those that are on their way."""
        with self._lock:
            while size_bytes > (free := self._free_bytes() - self._promised_bytes):
                if self._free_some():
                    continue
                taken = f" beside {self._promised_bytes} of other uploads" if self._promised_bytes else ""
                raise ResourceExhaustedError(
                    f"the file has {size_bytes} bytes to come and {self._folder} has room for {max(free, 0)}{taken}; "
                    "free some and register it again"
                )
            self._promised_bytes += size_bytes
        return Promise(self, size_bytes)

    def use(self, size_bytes: int, promised_bytes: int) -> None:
        """So much is written now, and so much of it was promised.

        ResourceExhaustedError where something else has filled the disk meanwhile.
        """
        with self._lock:
            while size_bytes > self._free_bytes():
                if not self._free_some():
                    raise ResourceExhaustedError(
                        f"the disk of {self._folder} is full but for what is kept for the database; "
                        "free some and register the file again"
                    )
            self._promised_bytes -= promised_bytes

    def give_back(self, size_bytes: int) -> None:
        with self._lock:
            self._promised_bytes -= size_bytes

    def _free_bytes(self) -> int:
        with storage_errors_explained(self._folder):
            return shutil.disk_usage(self._folder).free - _SPARE_BYTES


class Promise:
    """What one upload may still write. One thread at a time."""

    def __init__(self, room: DiskRoom, size_bytes: int) -> None:
        self._room = room
        self._left_bytes = size_bytes

    def use(self, size_bytes: int) -> None:
        """Call it before so many bytes are written; they may be more than were promised.

        ResourceExhaustedError where the disk has no room left.
        """
        promised = min(size_bytes, self._left_bytes)
        self._room.use(size_bytes, promised)
        self._left_bytes -= promised

    def end(self) -> None:
        """Gives back what was not used."""
        self._room.give_back(self._left_bytes)
        self._left_bytes = 0
