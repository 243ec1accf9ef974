"""The address that Envoy listens on: an IP address, and a port that is free."""

import asyncio
import errno
import socket

from modelyard.addresses import format_address
from modelyard.errors import FailedPreconditionError, InvalidArgumentError


async def resolve_host(host: str) -> str:
    """The IP address of `host`, since Envoy binds no names. Raises InvalidArgumentError."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except OSError as error:
        raise InvalidArgumentError(f"--listen: {host!r} is not a host of this network: {error}") from None
    return str(found[0][4][0])


def claim_port(host: str, port: int) -> int:
    """`port`, or a free one for 0. Raises FailedPreconditionError where somebody listens there already.

    Envoy's own processes share their port, so a foreign one that shares it as well would go unnoticed: hence this look.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of a past server do not count
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            why = "another process listens there" if error.errno == errno.EADDRINUSE else error.strerror
            raise FailedPreconditionError(
                f"cannot listen on {format_address(host, port)}: {why}; stop it, or choose another port with --listen"
            ) from None
        return int(probe.getsockname()[1])
