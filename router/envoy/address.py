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


def claim_port(host: str, port: int) -> socket.socket:
    """Bound to `port`, or to a free one for 0. Raises FailedPreconditionError where somebody listens there already.

    While it is open no other program is given the port by chance. It does not listen, so that Envoy can. Envoy's own
    processes share their port, and a foreign one that shares it as well would go unnoticed: hence this look.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    claim = socket.socket(family, socket.SOCK_STREAM)
    # So that Envoy can listen there, and connections of a past server do not count.
    claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        claim.bind((host, port))
    except OSError as error:
        claim.close()
        why = "another process listens there" if error.errno == errno.EADDRINUSE else error.strerror
        raise FailedPreconditionError(
            f"cannot listen on {format_address(host, port)}: {why}; stop it, or choose another port with --listen"
        ) from None
    return claim
