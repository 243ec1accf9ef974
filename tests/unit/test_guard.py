"""What a unit test may not do fails it; what asyncio needs for itself does not."""

import asyncio
import socket
import time

import grpc
import pytest
from grpc import aio


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_network_socket_fails_the_test(family: socket.AddressFamily) -> None:
    with pytest.raises(pytest.fail.Exception, match="opens a network socket"):
        socket.socket(family)


@pytest.mark.parametrize("module", [grpc, aio])
def test_so_does_grpc(module: object) -> None:
    for name in ("server", "insecure_channel"):
        with pytest.raises(pytest.fail.Exception, match="opens a network socket"):
            getattr(module, name)("127.0.0.1:1")


def test_waiting_for_the_clock_fails_the_test() -> None:
    time.sleep(0.001)
    with pytest.raises(pytest.fail.Exception, match=r"sleeps 0\.06 s"):
        time.sleep(0.06)


def test_other_sockets_and_event_loops_are_left_alone() -> None:
    for end in socket.socketpair():
        end.close()
    assert asyncio.run(asyncio.sleep(0, "done")) == "done"
