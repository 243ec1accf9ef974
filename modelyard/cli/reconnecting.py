"""What a transfer does that did not come to its end: it waits, longer each time, and says so."""

from __future__ import annotations

import time

from modelyard.backoff import Backoff
from modelyard.cli.byte_progress import ByteProgress
from modelyard.errors import YardError

# With the waits between them they outlast a controller's restart.
_TRIES = 9
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 5.0


class Reconnecting:
    """Counts failures in a row: `reset` it after each bit of progress."""

    def __init__(self, progress: ByteProgress) -> None:
        self._progress = progress
        self._backoff = Backoff(_FIRST_WAIT_S, _LONGEST_WAIT_S)
        self.failures = 0

    def reset(self) -> None:
        self.failures = 0
        self._backoff.reset()

    def wait(self, error: YardError) -> None:
        """Returns when it is time for the next try. Raises `error` where there were too many."""
        from modelyard._calls import UnreachableError

        self.failures += 1
        if self.failures >= _TRIES:
            raise error
        wait_s = self._backoff.next_s()
        # All else is gRPC's word on a cut connection, or the controller's own on why it cannot do it now.
        reason = "the controller cannot be reached" if isinstance(error, UnreachableError) else error.message
        self._progress.tell(f"{reason}; trying again in {wait_s:.1f} s")
        time.sleep(wait_s)
