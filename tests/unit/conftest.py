"""Unit tests reach no network and do not wait for the clock: whatever tries fails at that place."""

import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from grpc import aio

_LONGEST_SLEEP_S = 0.05
_NETWORK = (socket.AF_INET, socket.AF_INET6)


class _SocketGuard:
    """An audit hook, for it sees every caller; it cannot be taken away again, so it is told when to look."""

    watching = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.watching and event == "socket.__new__" and arguments[1] in _NETWORK:
            _refuse_network()


def _refuse_network(*_arguments: Any, **_options: Any) -> None:
    pytest.fail("a unit test opens a network socket: use a stand-in, or move it to tests/integration")


def _sleep(seconds: float) -> None:
    if seconds > _LONGEST_SLEEP_S:
        pytest.fail(f"a unit test sleeps {seconds} s: wait for an event, or pass the clock in")
    _real_sleep(seconds)


_real_sleep = time.sleep
_guard = _SocketGuard()
sys.addaudithook(_guard)


@pytest.fixture(autouse=True)
def guard(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in (grpc, aio):  # gRPC makes its sockets in C, where no hook sees them
        for name in ("server", "insecure_channel"):
            monkeypatch.setattr(module, name, _refuse_network)
    monkeypatch.setattr(time, "sleep", _sleep)
    _guard.watching = True
    yield
    _guard.watching = False
