"""Page tokens: opaque to callers, they hold the key after which the next page begins."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from modelyard.errors import InvalidArgumentError

K = TypeVar("K", str, int)


def make_page_token(listing: str, last_key: str | int | Sequence[str | int | float | None]) -> str:
    """`listing` tells what was listed, so that a token cannot be used for something else."""
    return base64.urlsafe_b64encode(json.dumps([listing, last_key], ensure_ascii=False).encode()).decode()


def parse_page_token(listing: str, token: str, key_type: type[K]) -> K | None:
    """The last key of the page before; None for "" (the first page). InvalidArgumentError for any other token."""

    def is_possible(key: object) -> bool:
        return isinstance(key, key_type) and (is_number(key) if isinstance(key, int) else is_name(key))

    key: K | None = parse_page_key(listing, token, is_possible)
    return key


def parse_page_key(listing: str, token: str, is_possible: Callable[[Any], bool]) -> Any:
    """As `parse_page_token`, of a key that may have parts: whatever `is_possible` holds for."""
    if not token:
        return None
    try:
        of, key = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError, RecursionError):
        of, key = None, None
    if of == listing and is_possible(key):
        return key
    raise InvalidArgumentError(
        "the page token is not one that this listing gave; list again without a token to start at the first page"
    )


# What no key can be would only fail later, in the database.


def is_number(key: object) -> bool:
    """Of a version, a move, a fact."""
    return type(key) is int and 0 < key < 2**63


def is_name(key: object) -> bool:
    """Of a model or an alias."""
    return isinstance(key, str) and key.isascii() and key.isprintable()
