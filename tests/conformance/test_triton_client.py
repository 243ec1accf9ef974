"""NVIDIA's tritonclient, unmodified, against the whole yard: each call that part of the protocol that we serve has."""

import queue
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

from tests.harness.yard import Yard

ROW = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)


def scale_input(module: Any = triton, rows: np.ndarray = ROW) -> Any:
    tensor = module.InferInput("x", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows)
    return tensor


def test_sync_client(yard: Yard) -> None:
    with triton.InferenceServerClient(yard.address) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.get_server_metadata().name == "modelyard"
        assert client.is_model_ready("scale")
        assert client.is_model_ready("scale", "1")
        assert not client.is_model_ready("scale", "7")
        assert not client.is_model_ready("nobody")
        metadata = client.get_model_metadata("scale")
        assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [("x", "FP32", [-1, 4])]
        assert [(t.name, t.datatype, list(t.shape)) for t in metadata.outputs] == [("y", "FP32", [-1, 4])]
        config = client.get_model_config("scale").config
        assert config.name == "scale"
        index = client.get_model_repository_index()
        assert [(m.name, m.version, m.state) for m in index.models] == [("scale", "1", "READY")]
        result = client.infer("scale", [scale_input()], request_id="abc", outputs=[triton.InferRequestedOutput("y")])
        np.testing.assert_array_equal(result.as_numpy("y"), ROW * 2)
        assert result.get_response().id == "abc"
        statistics = client.get_inference_statistics("scale").model_stats[0]
        assert statistics.inference_count >= 1


async def test_aio_client(yard: Yard) -> None:
    async with triton_aio.InferenceServerClient(yard.address) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert (await client.get_server_metadata()).name == "modelyard"
        assert await client.is_model_ready("scale")
        assert (await client.get_model_metadata("scale")).name == "scale"
        assert (await client.get_model_config("scale")).config.name == "scale"
        assert len((await client.get_model_repository_index()).models) == 1
        result = await client.infer("scale", [scale_input(triton_aio)])
        np.testing.assert_array_equal(result.as_numpy("y"), ROW * 2)
        assert (await client.get_inference_statistics("scale")).model_stats[0].name == "scale"


def test_stream_answers_in_order_and_survives_a_bad_request(yard: Yard) -> None:
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with triton.InferenceServerClient(yard.address) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for number in range(20):
            client.async_stream_infer("scale", [scale_input(rows=ROW * number)], request_id=str(number))
        client.async_stream_infer("scale", [scale_input(rows=ROW[:, :3])])
        client.async_stream_infer("scale", [scale_input()], request_id="last")
        for number in range(20):
            result, error = answers.get(timeout=20)
            assert error is None
            assert result.get_response().id == str(number)
            np.testing.assert_array_equal(result.as_numpy("y"), ROW * number * 2)
        _, error = answers.get(timeout=20)
        assert "x" in str(error)
        result, error = answers.get(timeout=20)
        assert error is None
        assert result.get_response().id == "last"
        client.stop_stream()


@pytest.mark.parametrize(
    ("name", "shape", "datatype", "words"),
    [
        ("z", [1, 4], "FP32", ["z", "x"]),
        ("x", [1, 4], "INT32", ["x", "FP32", "INT32"]),
        ("x", [1, 3], "FP32", ["x", "4", "3"]),
        ("x", [4], "FP32", ["x"]),
    ],
)
def test_wrong_tensors(yard: Yard, name: str, shape: list[int], datatype: str, words: list[str]) -> None:
    tensor = triton.InferInput(name, shape, datatype)
    tensor.set_data_from_numpy(np.zeros(shape, np.int32 if datatype == "INT32" else np.float32))
    with triton.InferenceServerClient(yard.address) as client, pytest.raises(InferenceServerException) as caught:
        client.infer("scale", [tensor])
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    for word in words:
        assert word in caught.value.message()


def test_wrong_number_of_bytes(yard: Yard) -> None:
    tensor = scale_input()
    tensor._raw_content = ROW.tobytes()[:-1]
    with triton.InferenceServerClient(yard.address) as client, pytest.raises(InferenceServerException) as caught:
        client.infer("scale", [tensor])
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert "16" in caught.value.message()
    assert "15" in caught.value.message()


def test_compressed_request_is_refused_with_the_way_out(yard: Yard) -> None:
    with triton.InferenceServerClient(yard.address) as client:
        with pytest.raises(InferenceServerException, match="x-model"):
            client.infer("scale", [scale_input(rows=np.repeat(ROW, 100, 0))], compression_algorithm="gzip")
        result = client.infer(
            "scale",
            [scale_input(rows=np.repeat(ROW, 100, 0))],
            headers={"x-model": "scale"},
            compression_algorithm="gzip",
        )
    assert result.as_numpy("y").shape == (100, 4)
