from google.protobuf import wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st

from modelyard.varint import encode_varint


@given(st.integers(1, 2**64 - 1))
def test_it_is_what_protobuf_writes(number: int) -> None:
    assert b"\x08" + encode_varint(number) == wrappers_pb2.UInt64Value(value=number).SerializeToString()


def test_nothing_is_one_byte() -> None:
    assert encode_varint(0) == b"\0"
