"""A model file goes in at one end; an unmodified Triton client gets answers at the other."""

from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tests.harness.models import write_scale_model
from tests.harness.programs import wait_for
from tests.harness.yard import Yard

ROW = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)


@pytest.fixture(scope="module")
def served(yard: Yard, tmp_path_factory: pytest.TempPathFactory) -> Yard:
    """Version 1 doubles and is in production; version 2 triples and is in staging; version 3 is served by nobody."""
    folder = tmp_path_factory.mktemp("models")
    for factor in (2.0, 3.0, 5.0):
        yard.register("scale", write_scale_model(folder / "scale.onnx", factor))
    yard.set_alias("scale", "production", 1)
    yard.set_alias("scale", "staging", 2)
    yard.set_alias("scale", "champion", 1)
    yard.deploy("scale", replicas=2)
    yard.deploy("scale", "staging", replicas=1)
    yard.wait_serving("scale", version=1, replicas=2)
    yard.wait_serving("scale", "staging", version=2, replicas=1)
    return yard


def infer(yard: Yard, model: str, version: str = "") -> triton.InferResult:
    with triton.InferenceServerClient(yard.address) as client:
        tensor = triton.InferInput("x", [1, 4], "FP32")
        tensor.set_data_from_numpy(ROW)
        return client.infer(model, [tensor], model_version=version, client_timeout=20)


@pytest.mark.parametrize(
    ("model", "version", "factor", "answered_by"),
    [
        ("scale", "", 2.0, "1"),
        ("scale", "production", 2.0, "1"),
        ("scale", "staging", 3.0, "2"),
        ("scale", "champion", 2.0, "1"),
        ("scale", "1", 2.0, "1"),
        ("scale", "2", 3.0, "2"),
        ("scale@2", "", 3.0, "2"),
        ("scale@staging", "", 3.0, "2"),
    ],
)
def test_a_request_names_what_it_wants(served: Yard, model: str, version: str, factor: float, answered_by: str) -> None:
    result = infer(served, model, version)
    np.testing.assert_array_equal(result.as_numpy("y"), ROW * factor)
    response = result.get_response()
    assert (response.model_name, response.model_version) == ("scale", answered_by)


@pytest.mark.parametrize(
    ("model", "version", "status", "words"),
    [
        ("scael", "", "NOT_FOUND", "scale"),
        ("scale", "3", "NOT_FOUND", "scale"),
        ("scale", "nobody", "NOT_FOUND", "scale"),
        ("scale@staging", "staging", "NOT_FOUND", "scale"),
        ("../scale", "", "NOT_FOUND", "scale"),
        ("", "", "INVALID_ARGUMENT", "model"),
    ],
)
def test_what_is_not_served_gets_a_sentence(served: Yard, model: str, version: str, status: str, words: str) -> None:
    with pytest.raises(InferenceServerException) as caught:
        infer(served, model, version)
    assert caught.value.status() == f"StatusCode.{status}"
    assert words in caught.value.message()


@pytest.mark.parametrize("name", ["controller", "agent", "router"])
def test_each_program_stops_and_starts_again(served: Yard, name: str) -> None:
    program = getattr(served, name)
    assert program.stop() == 0, program.log_tail()
    program.start()
    served.wait_serving("scale", version=1, replicas=2)
    np.testing.assert_array_equal(infer(served, "scale").as_numpy("y"), ROW * 2.0)


def test_a_whole_yard_serves_again_what_it_served(served: Yard) -> None:
    for program in (served.router, served.agent, served.controller):
        assert program.stop() == 0, program.log_tail()
    assert not served.processes_left()
    for program in (served.controller, served.agent, served.router):
        program.start()
    served.wait_serving("scale", version=1, replicas=2)
    served.wait_serving("scale", "staging", version=2, replicas=1)
    np.testing.assert_array_equal(infer(served, "scale", "2").as_numpy("y"), ROW * 3.0)


def test_a_model_that_cannot_be_loaded_never_takes_the_old_one_down(served: Yard, tmp_path: Path) -> None:
    """Types that do not fit together pass the registry's check and fail in the model server."""
    bad = served.register("scale", write_model_of_mixed_types(tmp_path / "bad.onnx"))
    served.set_alias("scale", "production", bad)
    status = wait_for(
        lambda: (s := served.status("scale")).message and s.state == s.DEGRADED and s, "a degraded deployment"
    )
    assert status.serving_version == 1
    assert status.target_version == bad
    assert "onnxruntime cannot load it" in status.message
    np.testing.assert_array_equal(infer(served, "scale").as_numpy("y"), ROW * 2.0)
    served.set_alias("scale", "production", 1)
    served.wait_serving("scale", version=1, replicas=2)


def test_undeploy(served: Yard) -> None:
    served.undeploy("scale", "staging")
    wait_for(lambda: all(r.alias != "staging" for r in served.replicas("scale")), "the end of staging's replicas")
    with pytest.raises(InferenceServerException, match="scale"):
        infer(served, "scale", "2")
    np.testing.assert_array_equal(infer(served, "scale").as_numpy("y"), ROW * 2.0)


def write_model_of_mixed_types(path: Path) -> Path:
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        "mixed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        initializer=[helper.make_tensor("factor", TensorProto.INT64, [1], [2])],
    )
    domains = [helper.make_opsetid("", 17)]
    path.write_bytes(helper.make_model(graph, opset_imports=domains, ir_version=8).SerializeToString())
    return path
