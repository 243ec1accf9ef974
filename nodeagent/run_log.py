"""What one run of a replica's server said and says, as far as it is kept: read on while it is written and trimmed.

Position 0 is where the log begins; what was trimmed away from it, and is kept in `log.1`, ends there. All of it runs in
the thread that trims logs (ReplicaFolder.trim_log), so that no piece is read twice or skipped. Each read is small.
"""

import os
from typing import Self

from nodeagent.replica_folder import ReplicaFolder

_PIECE_BYTES = 64 << 10


class RunLog:
    """Held open: it can be read to its end after the next run has begun, and after the replica is gone."""

    def __init__(self, folder: ReplicaFolder, *, previous: bool = False) -> None:
        """`previous`: of the run before. Raises OSError; FileNotFoundError where there was none, or nothing yet."""
        self._folder = folder
        self._file = (folder.log_before if previous else folder.log).open("rb", buffering=0)
        self._inode = os.fstat(self._file.fileno()).st_ino
        self._trimmed_bytes = folder.trimmed_bytes(self._inode)
        self._position = 0
        # What was read last ends in the middle of a line.
        self._in_line = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def is_of_newest_run(self) -> bool:
        try:
            return self._folder.log.stat().st_ino == self._inode  # held open, its number is no other's
        except FileNotFoundError:
            return False

    def go_to_last(self, lines: int) -> int:
        """`read` begins with these last lines; with all that is kept where `lines` is 0. How many bytes they are."""
        first, end = -self._size_trimmed(), self._size()
        self._position = self._find_last(lines, first, end) if lines else first
        return end - self._position

    def _find_last(self, lines: int, first: int, end: int) -> int:
        """Where the last lines between these positions begin."""
        position = end
        while position > first:
            start = max(0 if position > 0 else first, position - _PIECE_BYTES)
            piece = self._read_at(start, position - start)
            # The line break at the very end begins no line.
            at = len(piece) - (position == end and piece.endswith(b"\n"))
            while (at := piece.rfind(b"\n", 0, at)) >= 0:
                lines -= 1
                if not lines:
                    return start + at + 1
            position = start
        return first

    def read(self) -> bytes:
        """The next piece; b"" where nothing more was said. Says where something is missing."""
        self._follow_trimming()
        first = -self._size_trimmed()
        if self._position < first:
            lost_bytes, self._position = first - self._position, first
            return self.make_notice(f"{lost_bytes} bytes are missing: the log was trimmed before they were read")
        if self._position > self._size():
            self._position = 0
            return self.make_notice("the log was emptied by somebody else")
        piece = self._read_at(self._position, _PIECE_BYTES)
        self._position += len(piece)
        if piece:
            self._in_line = not piece.endswith(b"\n")
        return piece

    def make_notice(self, text: str) -> bytes:
        """A line that the server did not write."""
        start = b"\n" if self._in_line else b""
        self._in_line = False
        return start + f"--- {text} ---\n".encode()

    def _follow_trimming(self) -> None:
        trimmed_bytes = self._folder.trimmed_bytes(self._inode)
        self._position -= max(0, trimmed_bytes - self._trimmed_bytes)
        self._trimmed_bytes = trimmed_bytes

    def _read_at(self, position: int, size: int) -> bytes:
        if position >= 0:
            return os.pread(self._file.fileno(), size, position)
        with self._folder.trimmed_log.open("rb") as trimmed:
            trimmed.seek(position, os.SEEK_END)
            return trimmed.read(min(size, -position))

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def _size_trimmed(self) -> int:
        """0 for any but the newest run, whose `log.1` is."""
        try:
            return self._folder.trimmed_log.stat().st_size if self.is_of_newest_run() else 0
        except FileNotFoundError:
            return 0
