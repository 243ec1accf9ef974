"""What must be refused is refused with a status and a sentence; afterwards the yard serves as before."""

import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException

from modelyard.v1 import registry_pb2
from tests.harness.load import scale_request
from tests.harness.models import write_scale_model
from tests.harness.yard import Yard

ROW = np.arange(1, 5, dtype=np.float32)


@pytest.fixture(scope="module")
def served(yard: Yard, tmp_path_factory: pytest.TempPathFactory) -> Yard:
    folder = tmp_path_factory.mktemp("models")
    yard.register("scale", write_scale_model(folder / "scale.onnx", 2.0))
    yard.register("wide", write_scale_model(folder / "wide.onnx", 2.0, width=1 << 20))
    for model in ("scale", "wide"):
        yard.set_alias(model, "production", 1)
        yard.deploy(model)
        yard.wait_serving(model, version=1, replicas=1)
    return yard


@pytest.fixture(autouse=True)
def it_serves_afterwards(served: Yard) -> Iterator[None]:
    yield
    with grpc.insecure_channel(served.address) as channel:
        response = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(
            scale_request("scale", "", ROW), timeout=20
        )
    np.testing.assert_array_equal(np.frombuffer(response.raw_output_contents[0], np.float32), ROW * 2)
    assert served.replicas("scale")[0].restarts == 0


def test_truncated_model(served: Yard, tmp_path: Path) -> None:
    whole = write_scale_model(tmp_path / "whole.onnx", 2.0).read_bytes()
    (tmp_path / "half.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(grpc.RpcError) as caught:
        served.register("half", tmp_path / "half.onnx")
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "half" not in model_names(served)


def test_a_file_that_is_no_model(served: Yard) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        served.register("readme", Path("README.md"))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "readme" not in model_names(served)


@pytest.mark.parametrize("name", ["../up", "a/b", "", "a" * 101, "with space", "a@1"])
def test_names_that_cannot_be(served: Yard, tmp_path: Path, name: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        served.register(name, write_scale_model(tmp_path / "scale.onnx", 4.0))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_the_same_file_twice(served: Yard, tmp_path: Path) -> None:
    with pytest.raises(grpc.RpcError, match="scale@1") as caught:
        served.register("scale", write_scale_model(tmp_path / "scale.onnx", 2.0))
    assert caught.value.code() == grpc.StatusCode.ALREADY_EXISTS


def test_a_tensor_of_200_mb_is_served(served: Yard) -> None:
    rows = np.ones((50, 1 << 20), np.float32)
    tensor = triton.InferInput("x", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows)
    with triton.InferenceServerClient(served.address) as client:
        answer = client.infer("wide", [tensor], client_timeout=60).as_numpy("y")
    assert answer.shape == rows.shape
    assert np.all(answer == 2)


def test_a_batch_over_the_limit_is_refused_with_the_limit(served: Yard) -> None:
    rows = np.ones(((1 << 16) + 1, 4), np.float32)
    tensor = triton.InferInput("x", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows)
    with (
        triton.InferenceServerClient(served.address) as client,
        pytest.raises(InferenceServerException, match="65536") as caught,
    ):
        client.infer("scale", [tensor], client_timeout=60)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_a_tensor_over_the_limit_is_refused_with_the_limit(served: Yard) -> None:
    rows = np.ones((75, 1 << 20), np.float32)  # 300 MiB; the default is 256 MiB
    tensor = triton.InferInput("x", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows)
    with (
        triton.InferenceServerClient(served.address) as client,
        pytest.raises(InferenceServerException, match="268435456") as caught,
    ):
        client.infer("wide", [tensor], client_timeout=60)
    assert caught.value.status() == "StatusCode.RESOURCE_EXHAUSTED"


INFER = "/inference.GRPCInferenceService/ModelInfer"


@pytest.mark.parametrize(
    "frame",
    [b"\x00\x00\x00\x00\x04\xff\xff\xff\xff", b"\x00\xff\xff\xff\xff", b"\x07garbage", b"\x00\x00\x00\x00\x00", b""],
)
def test_garbage_as_a_message(served: Yard, frame: bytes) -> None:
    """The bytes of the gRPC message are not a message; the HTTP/2 around it is right."""
    with grpc.insecure_channel(served.address) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(INFER)
        with pytest.raises(grpc.RpcError) as caught:
            call(frame, timeout=20)
    assert caught.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL)


def test_garbage_on_the_sockets(served: Yard) -> None:
    replica = served.replicas("scale")[0].address
    for address in (served.address, served.controller.facts["address"], replica):
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 4096)
    assert "scale" in model_names(served)  # the controller goes on, too; the rest is asked after each test


def model_names(yard: Yard) -> list[str]:
    return [m.model for m in yard.registry.ListModels(registry_pb2.ListModelsRequest(), timeout=30).models]
