"""Segments of shared memory that servers make: they outlive a server that is killed, and nobody else removes them."""

import hashlib
from contextlib import suppress
from pathlib import Path

SEGMENTS = Path("/dev/shm")


def segment_prefix(folder: Path) -> str:
    """What the names of all segments of the replica in that folder begin with. A server is told it at its start."""
    return f"modelyard_{hashlib.sha256(str(folder).encode()).hexdigest()[:20]}_"


def remove_segments(folder: Path) -> None:
    """Those of a replica whose processes have ended. A process that has one open keeps what is in it."""
    with suppress(OSError):
        for segment in SEGMENTS.glob(f"{segment_prefix(folder)}*"):
            segment.unlink(missing_ok=True)
