"""Requests that differ in nothing but their tensors are parsed and checked once, and mean the same as ever."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as pb

from modelyard.errors import InvalidArgumentError
from nodeagent.modelserver.dataplane import DataPlane
from nodeagent.modelserver.known_requests import KnownRequests
from nodeagent.modelserver.onnx_session import OnnxSession
from nodeagent.modelserver.settings import ServerSettings
from tests.harness.onnx_models import write_sum_model


class Parser:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self, data: bytes) -> Any:
        self.count += 1
        return pb.ModelInferRequest.FromString(data)


def make_request(*raws: bytes, request_id: str = "", names: str = "ab") -> Any:
    request = pb.ModelInferRequest(model_name="m", id=request_id, raw_input_contents=raws)
    for name, raw in zip(names, raws, strict=False):
        request.inputs.add(name=name, datatype="FP32", shape=[len(raw) // 4])
    return request


def floats(*values: float) -> bytes:
    return np.array(values, np.float32).tobytes()


def test_same_message_with_other_tensors_is_parsed_once() -> None:
    parser = Parser()
    known = KnownRequests(parser)
    first, raws = known.find(make_request(floats(1, 2), floats(3)).SerializeToString())
    again, others = known.find(make_request(floats(4, 5), floats(6)).SerializeToString())
    assert again is first
    assert parser.count == 1
    assert [bytes(raw) for raw in raws] == [floats(1, 2), floats(3)]
    assert [bytes(raw) for raw in others] == [floats(4, 5), floats(6)]


def test_messages_of_one_length_that_differ_are_told_apart() -> None:
    known = KnownRequests(Parser())
    one, _ = known.find(make_request(floats(1, 2), floats(3)).SerializeToString())
    other, raws = known.find(make_request(floats(1), floats(2, 3)).SerializeToString())
    named, _ = known.find(make_request(floats(1), floats(2, 3), names="ac").SerializeToString())
    assert len({id(one), id(other), id(named)}) == 3
    assert [list(tensor.shape) for tensor in other.message.inputs] == [[1], [2]]
    assert [bytes(raw) for raw in raws] == [floats(1), floats(2, 3)]
    assert [tensor.name for tensor in named.message.inputs] == ["a", "c"]


@given(st.lists(st.tuples(st.lists(st.binary(max_size=6), max_size=3), st.text("ab", max_size=2)), max_size=8))
def test_whatever_comes_in_whatever_order_is_read_as_protobuf_reads_it(requests: list[tuple[list[bytes], str]]) -> None:
    known = KnownRequests(pb.ModelInferRequest.FromString)
    for raws, names in requests:
        data = make_request(*raws, names=names).SerializeToString()
        found, contents = known.find(data)
        whole = pb.ModelInferRequest()
        whole.CopyFrom(found.message)
        whole.ClearField("raw_input_contents")
        whole.raw_input_contents.extend(map(bytes, contents))
        assert whole == pb.ModelInferRequest.FromString(data)


def test_numbered_and_large_and_typed_requests_are_not_kept() -> None:
    parser = Parser()
    known = KnownRequests(parser)
    typed = pb.ModelInferRequest(model_name="m")
    typed.inputs.add(name="a", datatype="FP32", shape=[1]).contents.fp32_contents.append(1)
    large = make_request(floats(1), names="a")
    large.parameters["note"].string_param = "x" * 5000
    for request in (make_request(floats(1), request_id="7"), typed, large):
        known.find(request.SerializeToString())
        known.find(request.SerializeToString())
    assert parser.count == 6


def test_no_more_than_some_kinds_are_kept() -> None:
    parser = Parser()
    known = KnownRequests(parser)
    for length in range(1, 200):
        known.find(make_request(bytes(4 * length)).SerializeToString())
    assert len(known._by_length) == 64
    known.find(make_request(bytes(4 * 199)).SerializeToString())
    assert parser.count == 199


def test_what_does_not_parse_is_an_error_each_time() -> None:
    def parse(_data: bytes) -> Any:
        raise InvalidArgumentError("no such message")

    known = KnownRequests(parse)
    for _ in range(2):
        with pytest.raises(InvalidArgumentError):
            known.find(b"\x0a\x01m\x3a\x01x")


async def test_known_request_is_still_checked_and_answered_for_itself(tmp_path: Path) -> None:
    file = write_sum_model(tmp_path / "m.onnx")
    settings = ServerSettings.load(["--model", "m", "--version", "1", "--file", str(file)])
    plane = DataPlane(settings, OnnxSession(file, threads=1, max_string_elements=1))
    requests = KnownRequests(pb.ModelInferRequest.FromString)

    async def ask(request: Any) -> list[list[float]]:
        known, raws = requests.find(request.SerializeToString())
        response, outputs = await plane.infer(known.message, raws, known=known)
        assert [list(output.shape) for output in response.outputs] == [[len(raw) // 4] for raw in outputs]
        return [np.frombuffer(raw, np.float32).tolist() for raw in outputs]

    assert await ask(make_request(floats(1, 2), floats(3, 4))) == [[4, 6], [-2, -2]]
    assert await ask(make_request(floats(5, 6), floats(1, 1))) == [[6, 7], [4, 5]]
    short = make_request(floats(1, 2), floats(3, 4))
    short.raw_input_contents[1] = floats(3)
    short.inputs[1].shape[:] = [2]
    for _ in range(2):
        with pytest.raises(InvalidArgumentError, match=r"input 'b': FP32 of shape \[2\] takes 8 bytes, got 4"):
            await ask(short)
    assert await ask(make_request(floats(1), floats(2, 3))) == [[3, 4], [-1, -2]]
    assert await plane.close(10)
