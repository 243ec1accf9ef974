"""HTTP/2 by hand: gRPC's own clients hold back pings that a proxy sends."""

import socket
import struct
from types import TracebackType
from typing import Self

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7
_ACK, _END_STREAM, _END_HEADERS = 0x1, 0x1, 0x4
_STREAM = 1


class PingingConnection:
    """One connection with one gRPC call on it. Raises ConnectionError where the server ends either."""

    def __init__(self, port: int, method: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._received = b""  # of the call, as far as nobody has asked for it
        self._acknowledged = 0
        self._pings = 0
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0, b""))
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": method,
            ":authority": "test",
            "content-type": "application/grpc",
            "te": "trailers",
        }
        self._socket.sendall(
            _frame(_HEADERS, _END_HEADERS, _STREAM, b"".join(_literal(name, value) for name, value in headers.items()))
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def send(self, message: bytes, *, last: bool) -> None:
        data = b"\0" + struct.pack(">I", len(message)) + message
        self._socket.sendall(_frame(_DATA, _END_STREAM if last else 0, _STREAM, data))

    def ping(self) -> None:
        """Returns when the server has acknowledged it."""
        self._pings += 1
        self._socket.sendall(_frame(_PING, 0, 0, struct.pack(">Q", self._pings)))
        while self._acknowledged < self._pings:
            self._take_frame()

    def has_answer(self) -> bool:
        """Whether a message has come; does not wait for one."""
        return len(self._received) >= 5

    def receive(self) -> bytes:
        """The next message."""
        while not self.has_answer() or len(self._received) < 5 + self._length():
            self._take_frame()
        end = 5 + self._length()
        message, self._received = self._received[5:end], self._received[end:]
        return message

    def _length(self) -> int:
        return int.from_bytes(self._received[1:5], "big")

    def _take_frame(self) -> None:
        head = self._read(9)
        kind, flags = head[3], head[4]
        payload = self._read(int.from_bytes(head[:3], "big"))
        if kind in (_GOAWAY, _RST_STREAM):
            raise ConnectionError(f"the server ended it: {payload!r}")
        if kind == _SETTINGS and not flags & _ACK:
            self._socket.sendall(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self._socket.sendall(_frame(_PING, _ACK, 0, payload))
        elif kind == _PING:
            self._acknowledged += 1
        elif kind == _DATA:
            self._received += payload

    def _read(self, size: int) -> bytes:
        parts = b""
        while len(parts) < size:
            part = self._socket.recv(size - len(parts))
            if not part:
                raise ConnectionError("the server closed the connection")
            parts += part
        return parts


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _literal(name: str, value: str) -> bytes:
    """A header that neither side is to remember, not compressed; both parts are shorter than 127 bytes."""
    return bytes([0x10, len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
