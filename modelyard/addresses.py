"""Addresses as people write them: HOST:PORT, with an IPv6 host in brackets."""

import re

from modelyard.errors import InvalidArgumentError

# No scheme, no path, no user: what people copy out of a browser would be looked up as the name of a host.
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:/@\[\]]+)):([0-9]{1,5})")


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of "host:port" ("[::1]:80" for IPv6). Raises ValueError that says what is wanted."""
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match[3]) > 65535:
        raise ValueError(f"{text!r} is not an address: wanted HOST:PORT, as in 127.0.0.1:8010 or [::1]:8010")
    return match[1] or match[2], int(match[3])


def check_address(text: str) -> str:
    """The address itself. Raises InvalidArgumentError that says what is wanted."""
    try:
        parse_address(text)
    except ValueError as error:
        raise InvalidArgumentError(str(error)) from None
    return text


def format_address(host: str, port: int) -> str:
    """The inverse of `parse_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
