"""A server that is far away, or busy, takes a moment to greet: that is not taken for nobody being there."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest

import modelyard
from modelyard.addresses import parse_address
from modelyard.cli.controller import Controller
from modelyard.control_channel import open_control_channel
from modelyard.errors import UnavailableError, UnimplementedError
from modelyard.v1 import registry_pb2, registry_pb2_grpc

DELAY_S = 1.5  # beyond what any reconnection waits
LIMIT_S = 5.0  # what a server is given to greet: here it is over only where this process gets no CPU for seconds


class LatePath:
    """A way to `address` on which what comes back is `DELAY_S` late at first."""

    def __init__(self, address: str) -> None:
        self._to = parse_address(address)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._to)
            threading.Thread(target=_pass_on, args=(near, far, 0.0), daemon=True).start()
            threading.Thread(target=_pass_on, args=(far, near, DELAY_S), daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _pass_on(source: socket.socket, sink: socket.socket, delay_s: float) -> None:
    time.sleep(delay_s)
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        for end in (source, sink):
            end.close()


@pytest.fixture
def late_server(server: Any) -> Iterator[str]:
    path = LatePath(server.address)
    yield path.address
    path.close()


def ask(call: Callable[[], Any]) -> Any:
    """What `call` gives; asked once more only where it waited as long as it should, and not where it gave up before."""
    while True:
        begin = time.monotonic()
        try:
            return call()
        except UnavailableError:
            if time.monotonic() - begin < LIMIT_S:
                raise


def test_the_client_waits_for_a_greeting(late_server: str) -> None:
    x = np.ones((1, 2), np.float32)

    def infer() -> Any:
        with modelyard.Client(late_server, retries=0) as client:
            return client.infer("resnet", x=x)["x"]

    np.testing.assert_array_equal(ask(infer), x)


def test_the_command_line_waits_for_a_greeting(late_server: str) -> None:
    def get_model() -> None:
        with Controller(late_server) as yard:
            yard.registry.GetModel(registry_pb2.GetModelRequest(name="models/m"))

    with pytest.raises(UnimplementedError):  # it answered: it is no controller
        ask(get_model)


async def test_an_agent_waits_for_a_greeting(late_server: str) -> None:
    while True:
        begin = time.monotonic()
        async with open_control_channel(late_server) as channel:
            stub: Any = registry_pb2_grpc.RegistryServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.GetModel(registry_pb2.GetModelRequest(name="models/m"))
        if caught.value.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() - begin < LIMIT_S:
            break
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
