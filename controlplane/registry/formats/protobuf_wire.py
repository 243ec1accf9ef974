"""Protobuf messages field by field, without objects made of them: of a large file only what is asked for is read.

Wire format: https://protobuf.dev/programming-guides/encoding
"""

from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT_BITS = 70


class WireError(Exception):
    """These bytes are no protobuf message."""


class CutOffError(WireError):
    """The file ends before its last field does; `missing_bytes` tells by how much."""

    def __init__(self, missing_bytes: int) -> None:
        super().__init__(f"{missing_bytes} bytes are missing")
        self.missing_bytes = missing_bytes


class Field(NamedTuple):
    number: int
    wire_type: int
    start: int  # of the tag
    body: int  # of the value; for bytes, behind their length
    end: int


def read_fields(view: memoryview, start: int, end: int) -> Iterator[Field]:
    """The fields of the message in view[start:end]. CutOffError, WireError."""
    position = start
    while position < end:
        tag, body = read_varint(view, position, end)
        number, wire_type = tag >> 3, tag & 7
        if number == 0:
            raise WireError("a field has the number 0")
        if wire_type == VARINT:
            _, field_end = read_varint(view, body, end)
        elif wire_type == BYTES:
            length, body = read_varint(view, body, end)
            field_end = body + length
        elif wire_type in (FIXED64, FIXED32):
            field_end = body + (8 if wire_type == FIXED64 else 4)
        else:
            raise WireError(f"a field has the wire type {wire_type}")
        if field_end > end:
            raise CutOffError(field_end - end)
        yield Field(number, wire_type, position, body, field_end)
        position = field_end


def read_varint(view: memoryview, position: int, end: int) -> tuple[int, int]:
    """The number at `position`, and where the next thing begins."""
    value = 0
    for shift in range(0, _LONGEST_VARINT_BITS, 7):
        if position >= end:
            raise CutOffError(1)
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise WireError("a number has more than 10 bytes")
