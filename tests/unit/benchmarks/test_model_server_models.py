"""The benchmark of model servers compares every answer."""

from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from benchmarks.model_server_http2 import LoadError
from benchmarks.model_server_models import Model

ROW = np.array([[1, 2, 3, 4]], np.float32)
MODEL = Model("some", Path("model.onnx"), "x", "y", ROW, 2 * ROW)


def make_answer(values: object, name: str = "y") -> pb.ModelInferResponse:
    answer = pb.ModelInferResponse(raw_output_contents=[np.asarray(values, np.float32).tobytes()])
    answer.outputs.add(name=name, datatype="FP32", shape=[1, 4])
    return answer


def test_request_is_one_row_with_raw_contents() -> None:
    request = pb.ModelInferRequest.FromString(MODEL.request())
    [tensor] = request.inputs
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("x", "FP32", [1, 4])
    assert list(request.raw_input_contents) == [ROW.tobytes()]


def test_right_answer_passes_raw_or_typed_and_may_differ_in_the_last_digits() -> None:
    MODEL.check(make_answer([2.0, 4.0, 6.0, 8.0005]).SerializeToString())
    typed = pb.ModelInferResponse()
    typed.outputs.add(name="y", datatype="FP32", shape=[1, 4]).contents.fp32_contents.extend([2.0, 4.0, 6.0, 8.0])
    MODEL.check(typed.SerializeToString())


@pytest.mark.parametrize(
    "answer",
    [
        make_answer([2.0, 4.0, 6.0, 9.0]),
        make_answer([2.0, 4.0, 6.0]),
        make_answer([2.0, 4.0, 6.0, 8.0], name="z"),
        pb.ModelInferResponse(),
    ],
)
def test_wrong_answer_is_an_error(answer: pb.ModelInferResponse) -> None:
    with pytest.raises(LoadError):
        MODEL.check(answer.SerializeToString())
