"""What is told apart and put together by hand is what protobuf would read and write."""

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as pb

from nodeagent.modelserver.wire import join_raw_contents, join_stream_response, split_raw_contents

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
RAWS = st.lists(st.binary(max_size=300), max_size=5)


@given(NAMES, NAMES, RAWS)
def test_a_request_is_split_as_protobuf_reads_it(name: str, request_id: str, raws: list[bytes]) -> None:
    request = pb.ModelInferRequest(model_name=name, id=request_id, raw_input_contents=raws)
    request.inputs.add(name=name, shape=[1, -1]).contents.bytes_contents.extend(raws)
    request.parameters["p"].string_param = name
    split = split_raw_contents(request.SerializeToString())
    assert list(map(bytes, split.raws)) == raws
    request.ClearField("raw_input_contents")
    assert pb.ModelInferRequest.FromString(split.rest) == request


@given(st.binary(max_size=60))
def test_any_bytes_mean_the_same_as_to_protobuf(data: bytes) -> None:
    split = split_raw_contents(data)
    try:
        wanted = pb.ModelInferRequest.FromString(data)
    except DecodeError:
        with pytest.raises(DecodeError):
            pb.ModelInferRequest.FromString(split.rest)
        return
    got = pb.ModelInferRequest.FromString(split.rest)
    got.raw_input_contents.extend(map(bytes, split.raws))
    assert got == wanted


def test_fields_may_stand_in_any_order() -> None:
    parts = [pb.ModelInferRequest(raw_input_contents=[b"a"]), pb.ModelInferRequest(model_name="m"),
             pb.ModelInferRequest(raw_input_contents=[b"b"])]  # fmt: skip
    split = split_raw_contents(b"".join(part.SerializeToString() for part in parts))
    assert list(map(bytes, split.raws)) == [b"a", b"b"]
    assert pb.ModelInferRequest.FromString(split.rest).model_name == "m"


def test_raw_contents_are_views_of_the_message() -> None:
    data = pb.ModelInferRequest(raw_input_contents=[bytes(1000)]).SerializeToString()
    assert np.shares_memory(np.frombuffer(split_raw_contents(data).raws[0], np.uint8), np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("data", [b"\xff" * 1_000_000, b"\x3a\x00" * 1_000_000, b"\x3a", b"\x08\x01", b"\x3a\x05abc"])
def test_what_no_client_sends_is_left_to_protobuf(data: bytes) -> None:
    split = split_raw_contents(data)
    assert split.rest is data and split.raws == []


@given(NAMES, RAWS)
def test_a_response_is_written_as_protobuf_writes_it(name: str, raws: list[bytes]) -> None:
    response = pb.ModelInferResponse(model_name=name)
    rest = response.SerializeToString()
    response.raw_output_contents.extend(raws)
    assert join_raw_contents(rest, [memoryview(raw) for raw in raws]) == response.SerializeToString()
    streamed = pb.ModelStreamInferResponse(infer_response=response)
    assert join_stream_response(rest, raws) == streamed.SerializeToString()
