"""Unmodified Triton clients against a real server process: every type, several tensors, streams."""

import queue
from pathlib import Path
from typing import Any

import grpc
import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException

from tests.harness.onnx_models import ONNX_TYPES, write_identity_model, write_sum_model
from tests.integration.modelserver.conftest import StartServer


def sample(datatype: str) -> Any:
    """[2, 3] of a type, with its extremes."""
    if datatype == "BYTES":
        return np.array([[b"", "é".encode(), b"a\0b"], [b"x" * 70_000, b"1", b"2"]], np.object_)
    if datatype == "BOOL":
        return np.array([[True, False, True], [False, False, True]])
    if datatype == "BF16":
        return np.array([[1.5, -2, 0], [3e38, 1e-3, 7]], np.float32).astype(ml_dtypes.bfloat16)
    dtype = np.dtype(triton.triton_to_np_dtype(datatype))
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return np.array([[0, 1, 2], [limits.min, limits.max, 3]], dtype)


def triton_input(name: str, array: Any, datatype: str) -> triton.InferInput:
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor


@pytest.mark.parametrize("datatype", ONNX_TYPES)
def test_every_type_with_the_sync_client(datatype: str, start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(write_identity_model(tmp_path / "m.onnx", datatype, ["batch", 3]))
    with triton.InferenceServerClient(server.facts["address"]) as client:
        [described] = client.get_model_metadata("m").inputs
        assert (described.datatype, list(described.shape)) == (datatype, [-1, 3])
        for array in (sample(datatype), sample(datatype)[:1], sample(datatype)[:0]):
            result = client.infer("m", [triton_input("x", array, datatype)], request_id="q7")
            answer = result.as_numpy("y")
            assert answer.shape == array.shape and answer.dtype == array.dtype
            assert answer.tolist() == array.tolist()
            assert result.get_response().id == "q7"


@pytest.mark.parametrize("datatype", ["FP32", "BYTES", "BF16"])
async def test_types_with_the_aio_client(datatype: str, start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(write_identity_model(tmp_path / "m.onnx", datatype, ["batch", 3]))
    async with triton_aio.InferenceServerClient(server.facts["address"]) as client:
        result = await client.infer("m@production", [triton_input("x", sample(datatype), datatype)])
        assert result.as_numpy("y").tolist() == sample(datatype).tolist()


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("BOOL", "bool_contents", [True, False]),
        ("INT8", "int_contents", [-128, 127]),
        ("UINT32", "uint_contents", [0, 2**32 - 1]),
        ("INT64", "int64_contents", [-(2**63), 5]),
        ("UINT64", "uint64_contents", [0, 2**64 - 1]),
        ("FP32", "fp32_contents", [0.5, -1.0]),
        ("FP64", "fp64_contents", [0.1, 1e300]),
        ("BYTES", "bytes_contents", [b"", b"two"]),
    ],
)
def test_typed_contents(datatype: str, field: str, values: Any, start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(write_identity_model(tmp_path / "m.onnx", datatype, ["batch"]))
    request = pb.ModelInferRequest(model_name="m")
    getattr(request.inputs.add(name="x", datatype=datatype, shape=[2]).contents, field).extend(values)
    with grpc.insecure_channel(server.facts["address"]) as channel:
        response = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
    assert triton.InferResult(response).as_numpy("y").tolist() == values


@pytest.mark.parametrize("datatype", ["INT64", "BYTES", "BF16"])
def test_scalars(datatype: str, start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(write_identity_model(tmp_path / "m.onnx", datatype, []))
    value = np.full((), sample(datatype)[1, 1], sample(datatype).dtype)
    with triton.InferenceServerClient(server.facts["address"]) as client:
        answer = client.infer("m", [triton_input("x", value, datatype)]).as_numpy("y")
    assert answer.shape == () and answer.tolist() == value.tolist()


@pytest.fixture
def adder(start_server: StartServer, tmp_path: Path) -> str:
    """The address of a server of sum = a + b, difference = a - b."""
    return str(start_server(write_sum_model(tmp_path / "sum.onnx")).facts["address"])


def operands(a: list[float], b: list[float]) -> list[triton.InferInput]:
    return [triton_input(name, np.array(v, np.float32), "FP32") for name, v in (("b", b), ("a", a))]


def test_several_inputs_and_only_the_outputs_asked_for(adder: str) -> None:
    with triton.InferenceServerClient(adder) as client:
        both = client.infer("m", operands([3, 4], [1, 2]))
        assert both.as_numpy("sum").tolist() == [4, 6] and both.as_numpy("difference").tolist() == [2, 2]
        one = client.infer("m", operands([3], [1]), outputs=[triton.InferRequestedOutput("difference")])
        assert [output.name for output in one.get_response().outputs] == ["difference"]
        assert one.as_numpy("difference").tolist() == [2]


def test_what_the_model_cannot_compute_is_the_callers_fault(adder: str) -> None:
    with triton.InferenceServerClient(adder) as client:
        with pytest.raises(
            InferenceServerException, match=r"cannot compute these inputs.*by a dimension other"
        ) as caught:
            client.infer("m", operands([1, 2, 3], [1, 2]))
        assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
        assert client.infer("m", operands([1], [1])).as_numpy("sum").tolist() == [2]


def test_a_stream_answers_in_order_and_outlives_bad_requests(adder: str) -> None:
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with triton.InferenceServerClient(adder) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for number in range(20):
            bad = number % 5 == 3
            client.async_stream_infer(
                "m", operands([number, 0] if bad else [number], [1, 2, 3]), request_id=str(number)
            )
        client.stop_stream()
    results = [answers.get(timeout=30) for _ in range(20)]
    for number, (result, error) in enumerate(results):
        if number % 5 == 3:
            assert result is None and "cannot compute these inputs" in str(error)
        else:
            assert error is None and result.get_response().id == str(number)
            assert result.get_response().parameters["triton_final_response"].bool_param
            assert result.as_numpy("sum").tolist() == [number + 1, number + 2, number + 3]


async def test_a_stream_of_the_aio_client(adder: str) -> None:
    async def requests() -> Any:
        for number in range(3):
            yield {"model_name": "m" if number != 1 else "other", "inputs": operands([number], [1])}

    async with triton_aio.InferenceServerClient(adder) as client:
        results = [answer async for answer in client.stream_infer(requests())]
    assert [result.as_numpy("sum").tolist() for result, error in results if error is None] == [[1], [3]]
    assert "serves m@3, not 'other'" in str(results[1][1])
