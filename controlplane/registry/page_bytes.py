"""How much of a list goes into one answer: so many items, and of large ones as many as fit. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TypeVar

T = TypeVar("T")

# gRPC refuses messages over 4 MiB to whoever does not ask for more; the names and lengths in a message need the rest.
PAGE_BYTES = 3 << 20
_NUMBER_BYTES = 8


def cut_page(items: Iterable[T], most: int, measure: Callable[[T], int]) -> tuple[list[T], bool]:
    """The first of `items`, and whether there are more: `most` at most, of PAGE_BYTES together or one that is larger.

    Takes no more of `items` than it must to tell: one that is not on the page.
    """
    page: list[T] = []
    total_bytes = 0
    for item in items:
        total_bytes += measure(item)
        if page and (len(page) >= most or total_bytes > PAGE_BYTES):
            return page, True
        page.append(item)
    return page, False


def count_bytes(value: object) -> int:
    """About as many as a message with this domain value has: those of its texts, and some for each number."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode(errors="replace"))
    if isinstance(value, Mapping):
        return sum(count_bytes(key) + count_bytes(held) for key, held in value.items())
    if isinstance(value, Sequence):
        return sum(map(count_bytes, value))
    if is_dataclass(value):
        return sum(count_bytes(getattr(value, field.name)) for field in fields(value))
    return _NUMBER_BYTES
