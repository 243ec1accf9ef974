"""Numbers of bytes as people read and write them."""

import re

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)(b?)", re.IGNORECASE)
_LARGEST = 2**60  # what is told in a message is a signed number of 64 bits


def format_size(size_bytes: int) -> str:
    """In powers of 1024, rounded to four digits: "1.5 GiB"."""
    size, units = float(size_bytes), list(_UNITS)
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:.4g} {units[0]}"


def parse_size(text: str) -> int:
    """Bytes of "512MiB", "2G" (powers of 1024), "1GB" (powers of 1000) or a plain number of bytes.

    Raises ValueError with a sentence where it is none of these.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r}: wanted a size such as 512MiB or 2GiB")
    number, unit, binary, decimal = match.groups()
    base = 1000 if decimal and not binary else 1024
    size = float(number) * base ** " kmgt".index(unit.lower() or " ")
    if size > _LARGEST:
        raise ValueError(f"{text[:40]!r}: more bytes than there are anywhere")
    return int(size)
