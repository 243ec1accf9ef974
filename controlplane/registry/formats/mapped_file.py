"""A file's bytes without reading it."""

import mmap
from pathlib import Path


def map_file(path: Path) -> mmap.mmap | bytes:
    """For reading. Closed when nothing refers to it: an error's traceback may hold views of it for long. OSError."""
    with path.open("rb") as file:
        is_empty = not file.read(1)
        return b"" if is_empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
