"""What commands print: JSON for scripts, tables for people, plain text where nobody looks at a terminal."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

T = TypeVar("T")

_QUICK_S = 1.0


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def to_plain(message: Any) -> dict[str, Any]:
    """A protobuf message as JSON types: names as in the proto, whole numbers as numbers, unset messages as null.

    protobuf's own json_format writes 64-bit numbers as strings, which every script would have to undo.
    """
    return {field.name: _plain_field(message, field) for field in message.DESCRIPTOR.fields}


def _plain_field(message: Any, field: Any) -> Any:
    value = getattr(message, field.name)
    if isinstance(value, Mapping):
        return {key: _plain_value(value[key], field) for key in sorted(value)}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain_value(item, field) for item in value]
    if field.message_type and not message.HasField(field.name):
        return None
    return _plain_value(value, field)


def _plain_value(value: Any, field: Any) -> Any:
    if hasattr(value, "ToJsonString"):
        return value.ToJsonString()
    if hasattr(value, "DESCRIPTOR"):
        return to_plain(value)
    return enum_name(field.enum_type, value) if field.enum_type else value


def enum_name(enum: Any, number: int) -> str:
    """The name of an enum's value without its type's prefix: "READY" of REPLICA_STATE_READY."""
    name: str = enum.values_by_number[number].name if number in enum.values_by_number else str(number)
    zero: str = enum.values_by_number[0].name
    return name.removeprefix(zero.removesuffix("UNSPECIFIED"))


def format_time(timestamp: Any) -> str:
    """A protobuf Timestamp in the local time zone; "-" where it is not set."""
    if not timestamp.seconds:
        return "-"
    return datetime.fromtimestamp(timestamp.seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "", empty: str = "") -> None:
    """`empty`: what to say where there are no rows."""
    cells = [[str(value) if value not in ("", None) else "-" for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    if not rows:
        sys.stdout.write(" ".join([f"{title}:" if title else "", empty]).strip() + "\n")
    elif _leaves_room(widths):
        _print_rich(columns, cells, title)
    else:
        _print_plain(columns, cells, title, widths)


def _leaves_room(widths: Sequence[int]) -> bool:
    """Whether this is a terminal in which the last column, the longest, can be folded and no other need be."""
    if not sys.stdout.isatty():
        return False
    from rich.console import Console

    return sum(widths[:-1]) + 3 * len(widths) + min(widths[-1], 20) <= Console().width


def _print_rich(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    headers = [*(Column(column, no_wrap=True) for column in columns[:-1]), Column(columns[-1], overflow="fold")]
    table = Table(*headers, title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)


def _print_plain(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str, widths: Sequence[int]) -> None:
    lines = [title] if title else []
    for row in [columns, *rows]:
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    sys.stdout.write("\n".join(lines) + "\n" + ("\n" if title else ""))


class Progress:
    """Tells what is being waited for, on standard error: a line that changes, or one line a change in a log."""

    def __init__(self, status: Any = None) -> None:
        self._status = status
        self._last = ""

    def tell(self, text: str) -> None:
        if text == self._last:
            return
        self._last = text
        if self._status is None:
            sys.stderr.write(text + "\n")
        else:
            from rich.markup import escape

            self._status.update(escape(text))


@contextmanager
def show_progress(text: str) -> Iterator[Progress]:
    if not sys.stderr.isatty():
        progress = Progress()
        progress.tell(text)
        yield progress
        return
    from rich.console import Console

    with Console(stderr=True).status(text) as status:
        yield Progress(status)


def collect(items: Iterable[T], what: str) -> list[T]:
    """All of them; says how many there are so far where they take more than a second."""
    start, found, iterator = time.monotonic(), list[T](), iter(items)
    for item in iterator:
        found.append(item)
        if time.monotonic() - start > _QUICK_S:
            break
    else:
        return found
    with show_progress(f"{len(found)} {what} so far") as progress:
        for item in iterator:
            found.append(item)
            if len(found) % 1000 == 0:
                progress.tell(f"{len(found)} {what} so far")
    return found
