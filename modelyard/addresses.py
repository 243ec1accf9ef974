"""Addresses as people write them: HOST:PORT, with an IPv6 host in brackets."""


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of "host:port" ("[::1]:80" for IPv6). Raises ValueError that says what is wanted."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not an address: wanted HOST:PORT, as in 127.0.0.1:8010 (port 0: any free one)")
    return host.removeprefix("[").removesuffix("]"), int(port)


def format_address(host: str, port: int) -> str:
    """The inverse of `parse_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
