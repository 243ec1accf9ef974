"""How much of a file is done: a bar where somebody looks, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelyard.sizes import format_size

_BETWEEN_LINES_S = 5.0


class ByteProgress:
    """`tell` is for a word between; `set` may be called from any thread."""

    def __init__(self, text: str, total_bytes: int, bar: Any = None) -> None:
        self._text, self._total_bytes, self._bar = text, total_bytes, bar
        self._task = bar.add_task(text, total=total_bytes or None) if bar else None
        self._next_line = time.monotonic() + _BETWEEN_LINES_S

    def set(self, done_bytes: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=done_bytes)
        elif (now := time.monotonic()) >= self._next_line:
            self._next_line = now + _BETWEEN_LINES_S
            total = f" of {format_size(self._total_bytes)}" if self._total_bytes else ""
            self.tell(f"{self._text}: {format_size(done_bytes)}{total}")

    def rename(self, text: str, total_bytes: int) -> None:
        """What is done now, and how much there is of it; 0: not known."""
        if (text, total_bytes) == (self._text, self._total_bytes):
            return
        self._text, self._total_bytes = text, total_bytes
        if self._bar is not None:
            self._bar.update(self._task, description=_escape(text), total=total_bytes or None)

    def tell(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(_escape(text), highlight=False)
        else:
            sys.stderr.write(text + "\n")


@contextmanager
def show_bytes(text: str, total_bytes: int = 0) -> Iterator[ByteProgress]:
    """On standard error, gone again at the end. `total_bytes`: 0 where it is not known."""
    if not sys.stderr.isatty():
        yield ByteProgress(text, total_bytes)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    amount = (DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress("{task.description}", BarColumn(), *amount, console=Console(stderr=True), transient=True) as bar:
        yield ByteProgress(_escape(text), total_bytes, bar)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
