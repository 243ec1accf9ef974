"""The benchmark's load generator against gRPC's own server."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from benchmarks.model_server_http2 import LoadError, Request
from benchmarks.model_server_load import run_load

METHOD = "/test.Echo/Call"
LARGE = 3 << 20
Behaviour = Callable[[bytes, grpc.ServicerContext], bytes]


@contextlib.contextmanager
def serving(behaviour: Behaviour) -> Iterator[int]:
    """The port of a server that answers with what the function returns."""
    handler: Any = grpc.unary_unary_rpc_method_handler(behaviour)
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", 2 * LARGE)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", {"Call": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


@pytest.mark.parametrize("size", [0, 10, LARGE], ids=["empty", "small", "beyond all windows"])
def test_every_call_gets_its_whole_answer(size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    seen: list[bytes] = []

    def echo(data: bytes, _context: Any) -> bytes:
        seen.append(data)
        return data

    with serving(echo) as port:
        load = run_load(port, Request(METHOD, body), callers=4, seconds=0.3)
    assert load.answers == {body}
    assert load.count == len(seen) >= 4
    assert set(seen) == {body}


def test_latencies_are_those_of_calls_and_callers_wait_for_their_answers() -> None:
    running = 0
    most = 0
    lock = threading.Lock()
    all_run = threading.Event()

    def slow(data: bytes, _context: Any) -> bytes:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if most == 3:
                all_run.set()
        all_run.wait(30)  # where the threads of this process are slow to start, calls meet all the same
        time.sleep(0.02)
        with lock:
            running -= 1
        return data

    with serving(slow) as port:
        for seconds in (0.3, 3, 10):  # more where this process gets no CPU for most of the time
            load = run_load(port, Request(METHOD, b"x"), callers=3, seconds=seconds)
            if load.count > 6:
                break
    assert most == 3
    assert load.count > 6
    assert len(load.latencies_s) == load.count - 3
    assert min(load.latencies_s) >= 0.02
    assert load.rate == load.count / load.seconds
    assert load.seconds >= seconds


def test_call_that_fails_ends_the_load() -> None:
    def fail(_data: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")
        raise AssertionError

    with serving(fail) as port, pytest.raises(LoadError, match="failed"):
        run_load(port, Request(METHOD, b"x"), callers=2, seconds=0.1)


def test_server_that_hangs_up_ends_the_load() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(1)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises((LoadError, OSError)):
            run_load(listener.getsockname()[1], Request(METHOD, b"x"), callers=1, seconds=0.1)
        thread.join()
