"""Large tensors in and out of messages past protobuf, which copies `bytes` twice on each way.

A message is a row of fields, each after its tag; repeated fields may stand in pieces. So the raw contents of a request
can be told apart from the rest, and those of a response appended to it, with nothing but tags and lengths.
"""

from collections.abc import Sequence
from typing import NamedTuple

from modelyard.varint import encode_varint

Buffer = bytes | memoryview

LENGTH_DELIMITED = 2  # the wire type of strings, bytes and messages: of all fields of a ModelInferRequest
_RAW_INPUT_CONTENTS = 7
_RAW_OUTPUT_CONTENTS = 6
_INFER_RESPONSE = 2  # the field of a ModelStreamInferResponse
_MOST_FIELDS = 10_000  # more are read by protobuf, in C: nobody shall keep the event loop busy with empty fields


class SplitMessage(NamedTuple):
    """A ModelInferRequest without its `raw_input_contents`, and these, in order, as views of the whole message."""

    rest: bytes
    raws: list[memoryview]
    spans: list[tuple[int, int]]  # where in the message they begin and end


def split_raw_contents(data: bytes) -> SplitMessage:
    """Bytes that are not laid out as a ModelInferRequest are all `rest`: what is wrong with them protobuf may say."""
    try:
        return _split(data)
    except (IndexError, ValueError):
        return SplitMessage(data, [], [])


def _split(data: bytes) -> SplitMessage:
    view, position = memoryview(data), 0
    rest: list[memoryview] = []
    raws: list[memoryview] = []
    spans: list[tuple[int, int]] = []
    while position < len(data):
        start = position
        tag, position = read_varint(data, position)
        length, position = read_varint(data, position)
        position += length
        if tag & 7 != LENGTH_DELIMITED or position > len(data) or len(rest) + len(raws) == _MOST_FIELDS:
            raise ValueError("not a ModelInferRequest as clients send it")
        if tag >> 3 == _RAW_INPUT_CONTENTS:
            raws.append(view[position - length : position])
            spans.append((position - length, position))
        else:
            rest.append(view[start:position])
    return SplitMessage(b"".join(rest), raws, spans)


def join_raw_contents(rest: bytes, raws: Sequence[Buffer]) -> bytes:
    """A serialised ModelInferResponse with `raws` as its `raw_output_contents`."""
    return b"".join(_response_parts(rest, raws))


def join_stream_response(rest: bytes, raws: Sequence[Buffer]) -> bytes:
    """The same as the `infer_response` of a serialised ModelStreamInferResponse."""
    parts = _response_parts(rest, raws)
    return b"".join([_field_head(_INFER_RESPONSE, sum(map(_size_bytes, parts))), *parts])


def _response_parts(rest: bytes, raws: Sequence[Buffer]) -> list[Buffer]:
    parts: list[Buffer] = [rest]
    for raw in raws:
        parts += (_field_head(_RAW_OUTPUT_CONTENTS, _size_bytes(raw)), raw)
    return parts


def _size_bytes(part: Buffer) -> int:
    return part.nbytes if isinstance(part, memoryview) else len(part)


def _field_head(field: int, length: int) -> bytes:
    return bytes([field << 3 | LENGTH_DELIMITED]) + encode_varint(length)


def read_varint(data: Buffer, position: int) -> tuple[int, int]:
    """The number, and the position after it. Raises IndexError where the data ends first, ValueError beyond 5 bytes."""
    number = 0
    for shift in range(0, 35, 7):  # 2**35: more than a message can be long
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise ValueError("a number beyond 35 bits")
