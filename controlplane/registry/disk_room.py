"""Room for files on their way in: promised before the first byte, so that uploads together never fill the disk."""

import shutil
import threading
from pathlib import Path

from controlplane.registry.storage_errors import storage_errors_explained
from modelyard.errors import ResourceExhaustedError

# What uploads must leave free: the database is on the same disk as a rule, and must go on.
_SPARE_BYTES = 64 << 20


class DiskRoom:
    """The disk that `folder` is on. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        # To uploads that have not written them yet.
        self._promised_bytes = 0

    def promise(self, size_bytes: int) -> "Promise":
        """ResourceExhaustedError where a file of that size has no room beside those that are on their way."""
        with self._lock:
            free = self._free_bytes() - self._promised_bytes
            if size_bytes > free:
                taken = f" beside {self._promised_bytes} of other uploads" if self._promised_bytes else ""
                raise ResourceExhaustedError(
                    f"the file has {size_bytes} bytes and {self._folder} has room for {max(free, 0)}{taken}; "
                    "free some and register it again"
                )
            self._promised_bytes += size_bytes
        return Promise(self, size_bytes)

    def use(self, size_bytes: int) -> None:
        """Of what was promised. ResourceExhaustedError where something else has filled the disk meanwhile."""
        with self._lock:
            if size_bytes > self._free_bytes():
                raise ResourceExhaustedError(
                    f"the disk of {self._folder} is full but for what is kept for the database; "
                    "free some and register the file again"
                )
            self._promised_bytes -= size_bytes

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
        """Call it before so many bytes are written. ResourceExhaustedError where the disk has no room left."""
        self._room.use(size_bytes)
        self._left_bytes -= size_bytes

    def end(self) -> None:
        """Gives back what was not used."""
        self._room.give_back(self._left_bytes)
        self._left_bytes = 0
