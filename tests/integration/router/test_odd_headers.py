"""Bytes in x-model that no gRPC library lets a client send."""

import socket
from typing import Any

from tritonclient.grpc import service_pb2

from modelyard.addresses import parse_address

_DATA, _HEADERS, _RST_STREAM, _GOAWAY = 0, 1, 3, 7
_END_STREAM, _END_HEADERS = 1, 4


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _literal(name: bytes, value: bytes) -> bytes:
    """A header field without indexing and without Huffman coding (RFC 7541, 6.2.2)."""
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


def _ask(address: str, x_model: bytes) -> int:
    """Sends one ModelInfer; returns the kind of the frame that decided it."""
    headers = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": b"/inference.GRPCInferenceService/ModelInfer",
        b":authority": b"yard",
        b"content-type": b"application/grpc",
        b"te": b"trailers",
        b"x-model": x_model,
    }
    block = b"".join(_literal(name, value) for name, value in headers.items())
    with socket.create_connection(parse_address(address), timeout=30) as connection:
        connection.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + _frame(4, 0, 0, b"")
            + _frame(_HEADERS, _END_HEADERS, 1, block)
            + _frame(_DATA, _END_STREAM, 1, b"\0\0\0\0\0")
        )
        stream = connection.makefile("rb")
        while head := stream.read(9):
            stream.read(int.from_bytes(head[:3], "big"))
            if head[3] in (_RST_STREAM, _GOAWAY) or (head[3] == _HEADERS and head[4] & _END_STREAM):
                return head[3]
    return _GOAWAY


async def test_odd_bytes_are_answered_and_break_nothing(
    running_router: Any, controller: Any, backends: Any, stub: Any
) -> None:
    (backend,) = await backends("one")
    await controller.apply(1, pools={"m/production@1": [backend]}, routes={"m": "m/production@1"})
    before = running_router.envoys
    for odd in (b"\xff\xfe", b"m\x80", b"\xc3\xbc", b"a\tb", b"%", b""):
        assert _ask(running_router.address, odd) == _HEADERS  # refused in good order
    for forbidden in (b"\x01", b"m\x00", b"m\r\nx-other: 1"):
        assert _ask(running_router.address, forbidden) in (_RST_STREAM, _GOAWAY)
    assert (await stub.ModelInfer(service_pb2.ModelInferRequest(model_name="m"))).id == "one"
    assert (await stub.ServerLive(service_pb2.ServerLiveRequest())).live
    assert running_router.envoys == before
    assert running_router.process.returncode is None
