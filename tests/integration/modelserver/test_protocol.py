"""Everything that is not an inference, and everything that is not even a request."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from onnx import helper
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from tests.harness.onnx_models import tensor, write_identity_model, write_model
from tests.harness.programs import Program
from tests.integration.modelserver.conftest import StartServer

MIB = 1 << 20


@pytest.fixture
def server(start_server: StartServer, tmp_path: Path) -> Program:
    return start_server(write_identity_model(tmp_path / "m.onnx", "FP32", ["batch", 2]))


@pytest.fixture
def channel(server: Program) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.facts["address"]) as opened:
        yield opened


def infer_request(rows: int = 1) -> Any:
    request = pb.ModelInferRequest(model_name="m")
    request.inputs.add(name="x", datatype="FP32", shape=[rows, 2])
    request.raw_input_contents.append(np.ones((rows, 2), np.float32).tobytes())
    return request


def answers(channel: grpc.Channel) -> bool:
    response = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(infer_request(), timeout=30)
    return bool(response.raw_output_contents[0] == infer_request().raw_input_contents[0])


def test_the_ready_line_tells_the_port_and_how_the_start_went(server: Program) -> None:
    facts = dict(server.facts)
    times = [facts.pop(name) for name in ("began", "loaded", "warm")]
    assert facts == {"program": "modelserver", "address": f"127.0.0.1:{facts['port']}", "port": facts["port"]}
    assert times == sorted(times) and times[-1] < time.monotonic()


def test_what_a_client_may_ask(server: Program) -> None:
    with triton.InferenceServerClient(server.facts["address"]) as client:
        assert client.is_server_live() and client.is_server_ready()
        assert client.is_model_ready("m") and client.is_model_ready("m", "3") and not client.is_model_ready("m", "4")
        assert client.get_server_metadata().name == "modelyard"
        assert client.get_model_metadata("m").platform == "onnxruntime_onnx"
        assert client.get_model_config("m").config.max_batch_size > 0
        assert [model.state for model in client.get_model_repository_index().models] == ["READY"]
        client.infer("m", [_ones()])
        [stats] = client.get_inference_statistics("m", "3").model_stats
        assert (stats.inference_count, stats.inference_stats.success.count) == (1, 1)


def _ones() -> triton.InferInput:
    made = triton.InferInput("x", [1, 2], "FP32")
    made.set_data_from_numpy(np.ones((1, 2), np.float32))
    return made


OFFERED = {
    "ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics",
    "RepositoryIndex", "ModelInfer", "ModelStreamInfer",
}  # fmt: skip


def test_everything_else_is_unimplemented_with_a_sentence(channel: grpc.Channel) -> None:
    methods = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
    for name in set(methods) - OFFERED:
        call = getattr(service_pb2_grpc.GRPCInferenceServiceStub(channel), name)
        with pytest.raises(grpc.RpcError) as caught:
            call(getattr(pb, methods[name].input_type.name)(), timeout=30)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert f"{name} is not offered here: " in str(caught.value.details())


def test_health_and_reflection(channel: grpc.Channel) -> None:
    health: Any = health_pb2_grpc.HealthStub(channel)
    for name in ("", "inference.GRPCInferenceService"):
        response = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=30)
        assert response.status == health_pb2.HealthCheckResponse.SERVING
    assert "inference.GRPCInferenceService" in ProtoReflectionDescriptorDatabase(channel).get_services()


@pytest.mark.parametrize("method", ["ModelInfer", "ModelReady", "ServerLive"])
def test_bytes_that_are_no_message_are_invalid(method: str, channel: grpc.Channel) -> None:
    call: Any = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"\xff\xfe garbage", timeout=30)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"is not a inference.{method}Request" in str(caught.value.details())
    assert answers(channel)


def test_bytes_that_are_no_message_do_not_end_a_stream(channel: grpc.Channel) -> None:
    call: Any = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    replies = call(iter([b"\xff\xfe garbage", infer_request().SerializeToString()]), timeout=30)
    bad, good = map(pb.ModelStreamInferResponse.FromString, replies)
    assert "not a inference.ModelInferRequest" in bad.error_message
    assert not good.error_message and good.infer_response.model_name == "m"


@pytest.mark.parametrize(
    "garbage",
    [
        os.urandom(64 * 1024),
        b"GET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + os.urandom(4096),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
    ],
    ids=["random", "http1", "http2-random", "http2-huge-frame"],
)
def test_garbage_on_the_port_harms_nobody(garbage: bytes, server: Program, channel: grpc.Channel) -> None:
    assert answers(channel)
    with socket.create_connection(("127.0.0.1", server.facts["port"])) as connection:
        connection.settimeout(30)
        try:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except OSError:
            pass  # the server may close on us at any point
    assert answers(channel)


def _unlimited(server: Program) -> grpc.Channel:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    return grpc.insecure_channel(server.facts["address"], options=options)


def test_200_megabytes_are_served(start_server: StartServer, tmp_path: Path) -> None:
    rows = 25_000_000
    file = write_identity_model(tmp_path / "m.onnx", "FP32", ["b", 2])
    server = start_server(file, "--max-batch-size", str(rows))
    with _unlimited(server) as channel:
        response = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(infer_request(rows), timeout=100)
    assert list(response.outputs[0].shape) == [rows, 2]
    assert len(response.raw_output_contents[0]) == rows * 8


def _strings(count: int, field: str) -> bytes:
    """A request of empty strings: 4 bytes for each where they are raw, 2 where they are typed."""
    request = pb.ModelInferRequest(model_name="m")
    contents = request.inputs.add(name="x", datatype="BYTES", shape=[count]).contents
    if field == "raw":
        request.raw_input_contents.append(bytes(4 * count))
    else:
        contents.bytes_contents.extend([b""] * count)
    return request.SerializeToString()  # type: ignore[no-any-return]


def _peak_bytes(server: Program) -> int:
    status = Path(f"/proc/{server.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (_strings(10_000_000, "raw"), "more strings than the 1048576 that --max-string-elements allows"),
        (_strings(10_000_000, "typed"), "more than the 8388608 that --max-typed-bytes allows"),
        (_strings(2_000_000, "typed"), "more strings than the 1048576 that --max-string-elements allows"),
        (b"\x2a\x00" * 10_000_000, "more than the 8388608 that --max-typed-bytes allows"),
    ],
    ids=["raw", "typed", "fewer-typed", "empty-inputs"],
)
def test_a_message_of_tiny_things_takes_no_memory_beyond_itself(
    data: bytes, text: str, start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(
        write_identity_model(tmp_path / "m.onnx", "BYTES", ["n"]), "--max-batch-size", str(10_000_000)
    )
    before = _peak_bytes(server)
    with _unlimited(server) as channel, pytest.raises(grpc.RpcError) as caught:
        call: Any = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        call(data, timeout=100)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert text in str(caught.value.details())
    assert _peak_bytes(server) - before < max(6 * len(data), 100 * MIB)


def test_more_than_the_limit_is_refused_clearly(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(write_identity_model(tmp_path / "m.onnx", "FP32", ["b", 2]), "--max-message-bytes", str(MIB))
    with _unlimited(server) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(infer_request(25_000_000), timeout=100)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert str(MIB) in str(caught.value.details())
        assert answers(channel)


def test_an_answer_over_the_limit_is_refused_clearly(start_server: StartServer, tmp_path: Path) -> None:
    file = write_model(
        tmp_path / "m.onnx",
        [helper.make_node("ConstantOfShape", ["n"], ["y"])],
        [tensor("n", "INT64", [1])],
        [tensor("y", "FP32", ["k"])],
    )
    server = start_server(file, "--max-message-bytes", str(MIB))
    request = pb.ModelInferRequest(model_name="m", raw_input_contents=[np.array([MIB]).tobytes()])
    request.inputs.add(name="n", datatype="INT64", shape=[1])
    with _unlimited(server) as channel, pytest.raises(grpc.RpcError) as caught:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=30)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "--max-message-bytes" in str(caught.value.details())
