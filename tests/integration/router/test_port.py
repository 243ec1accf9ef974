"""The port of a router is its own from the moment that it is chosen."""

import socket

import pytest

from modelyard.errors import FailedPreconditionError
from router.envoy.address import claim_port


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_while_it_is_claimed_only_who_asks_for_it_gets_it(host: str) -> None:
    with claim_port(host, 0) as claim, socket.socket() as envoy, socket.socket() as other:
        port = claim.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        with pytest.raises(OSError, match="in use"):
            other.bind((host, port))
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            envoy.setsockopt(socket.SOL_SOCKET, option, 1)
        envoy.bind((host, port))
        envoy.listen()
        socket.create_connection(("127.0.0.1", port)).close()


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "for-sharing"])
def test_a_port_where_somebody_listens_cannot_be_claimed(shared: bool) -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
        server.bind(("127.0.0.1", 0))
        server.listen()
        with pytest.raises(FailedPreconditionError, match="another process listens there"):
            claim_port("127.0.0.1", server.getsockname()[1])
