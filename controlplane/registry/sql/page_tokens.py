"""Page tokens: opaque to callers, they hold the key after which the next page begins."""

import base64
import binascii
import json
from typing import TypeVar

from modelyard.errors import InvalidArgumentError

K = TypeVar("K", str, int)


def make_page_token(listing: str, last_key: str | int) -> str:
    """`listing` tells what was listed, so that a token cannot be used for something else."""
    return base64.urlsafe_b64encode(json.dumps([listing, last_key]).encode()).decode()


def parse_page_token(listing: str, token: str, key_type: type[K]) -> K | None:
    """The last key of the page before; None for "" (the first page). InvalidArgumentError for any other token."""
    if not token:
        return None
    try:
        of, key = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError, RecursionError):
        of, key = None, None
    if of == listing and type(key) is key_type and _is_possible(key):
        return key
    raise InvalidArgumentError(
        "the page token is not one that this listing gave; list again without a token to start at the first page"
    )


def _is_possible(key: str | int) -> bool:
    # What no key can be would only fail later, in the database.
    return 0 < key < 2**63 if isinstance(key, int) else key.isascii() and key.isprintable()
