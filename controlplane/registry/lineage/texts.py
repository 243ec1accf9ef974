r"""What ML Metadata can keep of a text, on any database.

On PostgreSQL it indexes every text, which PostgreSQL refuses beyond some 2,700 bytes, its names have 255 characters,
and a text with a backslash reaches the server *outside* its quotes: as SQL. On any database a text ends at its first
null character. So a text is made keepable before the library sees it, and where that changes it, the whole text goes
beside it as a protobuf value, which the library sends as bytes.
"""

import hashlib
import re

_LONGEST_BYTES = 2_000
_LONGEST_NAME = 255
# May stand in a filter: its quotes and escapes differ between the library's own language and the two databases.
_PLAIN = re.compile(r"[A-Za-z0-9 @#:/.+_-]*")


def keepable(text: str) -> str:
    """`text` itself where it can be kept, else the nearest that can, cut off with an ellipsis."""
    replaced = _replace(text)
    encoded = replaced.encode()
    return replaced if len(encoded) <= _LONGEST_BYTES else encoded[: _LONGEST_BYTES - 3].decode(errors="ignore") + "…"


def keepable_name(text: str) -> str:
    """As `keepable`, and different for different texts: one that is not kept whole ends with its digest."""
    name = _replace(text)
    if name == text and len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{name[: _LONGEST_NAME - len(digest) - 2]}… {digest}"


def is_plain(text: str) -> bool:
    """Whether it can stand between quotes in the library's filter language."""
    return _PLAIN.fullmatch(text) is not None


def _replace(text: str) -> str:
    return text.replace("\\", "\N{REVERSE SOLIDUS OPERATOR}").replace("\0", "\N{REPLACEMENT CHARACTER}")
