"""A connection of the load generator: one unary gRPC call after another over HTTP/2, as bytes that were made before.

gRPC's own client in Python takes more time for a call than the servers that are to be measured. This one knows no more
of HTTP/2 (RFC 9113) than such calls need: frames, flow control, and answers to pings and settings. The answer's headers
are not read: a call that failed is one without a message.
"""

import socket
import struct
from collections.abc import Iterator
from typing import Any

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS, _PADDED = 1, 1, 4, 8
_HEADER_TABLE_SIZE, _ENABLE_PUSH, _INITIAL_WINDOW_SIZE, _MAX_FRAME_SIZE = 1, 2, 4, 5
_USUAL_WINDOW, _LARGEST_WINDOW = 65_535, 2**31 - 1
_HEAD = struct.Struct(">BHBBI")  # length in two parts, type, flags, stream
_SETTING = struct.Struct(">HI")


class LoadError(Exception):
    """A server that did not answer as it should."""


class Request:
    """A gRPC call as it goes over the wire, but for the number of its stream."""

    def __init__(self, method: str, message: bytes, content_type: str = "application/grpc") -> None:
        """`method`: its path, "/package.Service/Method"."""
        self.headers = _header_block(method, content_type)
        self.body = frame_message(message)


def frame_message(message: bytes) -> bytes:
    """As gRPC has it: not compressed, after its length."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def _header_block(method: str, content_type: str) -> bytes:
    """HPACK (RFC 7541) without its tables' changing part: the same bytes for each call."""

    def text(value: str) -> bytes:
        assert len(value) < 127
        return bytes([len(value)]) + value.encode()

    post, http = b"\x83", b"\x86"
    path, authority, kind, te = b"\x04", b"\x01", b"\x0f\x10", b"\x00" + text("te")
    named = ((path, method), (authority, "localhost"), (kind, content_type), (te, "trailers"))
    return b"".join((post, http, *(name + text(value) for name, value in named)))


class Connection:
    """Non-blocking once made: call `flush` when it may be written to and `receive` when there is something to read.

    A connection may receive 2 GiB in all, for its window is opened once.
    """

    def __init__(self, port: int, request: Request) -> None:
        """Connects, and waits for the server's settings. Raises OSError and LoadError."""
        self._request = request
        self._stream = -1
        self._unsent = memoryview(b"")  # of the body, beyond what flow control allows
        self._connection_window = self._initial_window = self._stream_window = _USUAL_WINDOW
        self._most_of_frame = 16_384
        self._out, self._in, self._answer = bytearray(), bytearray(), bytearray()
        self._headers = b""
        self._is_greeted = self._is_calling = False
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._greet()
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    @property
    def has_unsent(self) -> bool:
        """Whether there are bytes that the socket did not take yet."""
        return bool(self._out)

    def start(self) -> None:
        """Begins the next call; the one before has been answered."""
        self._stream += 2
        self._is_calling = True
        self._stream_window = self._initial_window
        self._unsent = memoryview(self._request.body)
        self._answer.clear()
        self._put(_HEADERS, _END_HEADERS, self._stream, self._request.headers)
        self._pump()

    def flush(self) -> None:
        if not self._out:
            return
        try:
            sent = self._socket.send(self._out)
        except BlockingIOError:
            return
        del self._out[:sent]

    def receive(self) -> bytes | None:
        """The answer's message, or None while it is not whole. Raises LoadError where the call failed."""
        try:
            data = self._socket.recv(1 << 18)
        except BlockingIOError:
            return None
        if not data:
            raise LoadError("the server closed the connection")
        self._in += data
        is_over = False
        for kind, flags, stream, payload in self._frames():
            is_over |= self._handle(kind, flags, stream, payload)
        self._pump()
        return self._take_answer() if is_over else None

    def _greet(self) -> None:
        settings = ((_HEADER_TABLE_SIZE, 0), (_ENABLE_PUSH, 0), (_INITIAL_WINDOW_SIZE, _LARGEST_WINDOW))
        self._out += _PREFACE
        self._put(_SETTINGS, 0, 0, b"".join(_SETTING.pack(*setting) for setting in settings))
        self._put(_WINDOW_UPDATE, 0, 0, (_LARGEST_WINDOW - _USUAL_WINDOW).to_bytes(4, "big"))
        self.flush()
        while not self._is_greeted:
            self.receive()

    def _put(self, kind: int, flags: int, stream: int, payload: Any) -> None:
        length = len(payload)
        self._out += _HEAD.pack(length >> 16, length & 0xFFFF, kind, flags, stream)
        self._out += payload

    def _pump(self) -> None:
        """Hands the socket as much of the body as flow control allows."""
        while self._unsent:
            size = min(len(self._unsent), self._stream_window, self._connection_window, self._most_of_frame)
            if size <= 0:
                break
            chunk, self._unsent = self._unsent[:size], self._unsent[size:]
            self._stream_window -= size
            self._connection_window -= size
            self._put(_DATA, 0 if self._unsent else _END_STREAM, self._stream, chunk)
        self.flush()

    def _frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        position, data = 0, self._in
        while len(data) - position >= _HEAD.size:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, position)
            start = position + _HEAD.size
            end = start + (high << 16) + low
            if end > len(data):
                break
            position = end
            yield kind, flags, stream, bytes(data[start:end])
        del data[:position]

    def _handle(self, kind: int, flags: int, stream: int, payload: bytes) -> bool:
        """Whether this ends the call."""
        if stream == self._stream and kind in (_DATA, _HEADERS):
            if kind == _HEADERS:
                self._headers = payload
            else:
                self._answer += payload[1 : len(payload) - payload[0]] if flags & _PADDED else payload
            self._is_calling = not flags & _END_STREAM
            return not self._is_calling
        if kind == _WINDOW_UPDATE:
            self._open_window(stream, int.from_bytes(payload, "big"))
        elif kind == _SETTINGS and not flags & _ACK:
            self._apply_settings(payload)
        elif kind == _PING and not flags & _ACK:
            self._put(_PING, _ACK, 0, payload)
        elif kind == _GOAWAY or (kind == _RST_STREAM and stream == self._stream and self._is_calling):
            raise LoadError(f"the server ended the connection or the call: {payload!r}")
        return False

    def _open_window(self, stream: int, size: int) -> None:
        if stream == 0:
            self._connection_window += size
        elif stream == self._stream:
            self._stream_window += size

    def _apply_settings(self, payload: bytes) -> None:
        for name, value in _SETTING.iter_unpack(payload):
            if name == _INITIAL_WINDOW_SIZE:
                self._stream_window += value - self._initial_window
                self._initial_window = value
            elif name == _MAX_FRAME_SIZE:
                self._most_of_frame = value
        self._put(_SETTINGS, _ACK, 0, b"")
        self._is_greeted = True

    def _take_answer(self) -> bytes:
        answer = self._answer
        if len(answer) < 5 or answer[0] or int.from_bytes(answer[1:5], "big") != len(answer) - 5 or self._unsent:
            raise LoadError(f"a call has failed; the end of its headers is {self._headers[-200:]!r}")
        return bytes(answer[5:])
