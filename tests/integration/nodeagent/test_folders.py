"""The agent serves models that are folders: TensorFlow SavedModels, and ONNX models with their weights beside them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import np_to_triton_dtype

from modelyard.tensors import Array
from modelyard.v1 import resources_pb2
from tests.harness.onnx_models import write_model_with_external_data
from tests.harness.savedmodels import Reference, load_reference, savedmodel
from tests.integration.nodeagent.conftest import StartAgent
from tests.integration.nodeagent.stand_in import BACKOFF, READY, StandInController

_SAVEDMODEL = resources_pb2.MODEL_FORMAT_SAVEDMODEL


def infer(port: int, inputs: Mapping[str, Array]) -> triton.InferResult:
    tensors = []
    for name, array in inputs.items():
        tensors.append(triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype)))
        tensors[-1].set_data_from_numpy(array)
    with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
        return client.infer("folded", tensors, client_timeout=30)


def check_answer(port: int, reference: Reference) -> None:
    result = infer(port, reference.inputs)
    for key, wanted in reference.outputs.items():
        np.testing.assert_allclose(result.as_numpy(key), wanted, rtol=1e-5, atol=1e-5)


def cached(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "data" / "cache").iterdir())


@pytest.mark.parametrize("name", ["cnn", "lstm", "same_keys"])
def test_a_savedmodel_is_fetched_unpacked_pinned_and_answers(
    name: str, controller: StandInController, start_agent: StartAgent, tmp_path: Path
) -> None:
    start_agent()
    formats = controller.hellos[0].resources.formats
    assert set(formats) == {resources_pb2.MODEL_FORMAT_ONNX, resources_pb2.MODEL_FORMAT_SAVEDMODEL}
    reference = load_reference(name)
    version = controller.add_folder(savedmodel(name), _SAVEDMODEL, reference.inputs, reference.outputs)
    controller.want(r1=version)
    replica = controller.wait_seen("r1", READY)
    check_answer(replica.port, reference)
    assert psutil.Process(replica.pid).cpu_affinity() == [0]
    assert cached(tmp_path) == [tmp_path / "data" / "cache" / version.sha256]
    assert cached(tmp_path)[0].is_dir()


def test_the_next_agent_adopts_it_and_does_not_fetch_again(
    controller: StandInController, start_agent: StartAgent
) -> None:
    agent, reference = start_agent("--on-stop", "keep"), load_reference("cnn")
    version = controller.add_folder(savedmodel("cnn"), _SAVEDMODEL, reference.inputs, reference.outputs)
    controller.want(r1=version)
    before = controller.wait_seen("r1", READY)
    assert agent.stop() == 0
    start_agent()
    controller.want(r1=version, r2=version)
    second = controller.wait_seen("r2", READY)
    assert controller.wait_seen("r1", READY).pid == before.pid
    check_answer(second.port, reference)
    assert len(controller.reads) == 1


def test_a_folder_that_was_damaged_while_nobody_looked_is_fetched_again(
    controller: StandInController, start_agent: StartAgent, tmp_path: Path
) -> None:
    agent, reference = start_agent(), load_reference("cnn")
    version = controller.add_folder(savedmodel("cnn"), _SAVEDMODEL, reference.inputs, reference.outputs)
    controller.want(r1=version)
    controller.wait_seen("r1", READY)
    assert agent.stop() == 0
    [variables] = cached(tmp_path)[0].rglob("variables.data*")
    variables.chmod(0o644)
    variables.write_bytes(bytes(variables.stat().st_size))
    start_agent()
    check_answer(controller.wait_seen("r1", READY).port, reference)
    assert len(controller.reads) == 2


def test_an_onnx_model_with_its_weights_beside_it(
    controller: StandInController, start_agent: StartAgent, tmp_path: Path
) -> None:
    start_agent()
    (tmp_path / "model").mkdir()
    write_model_with_external_data(tmp_path / "model" / "net.onnx", np.array([2, 3, 4, 5], np.float32))
    ones = np.ones((2, 4), np.float32)
    version = controller.add_folder(tmp_path / "model", resources_pb2.MODEL_FORMAT_ONNX, {"x": ones}, {"y": ones})
    controller.want(r1=version)
    answer = infer(controller.wait_seen("r1", READY).port, {"x": ones}).as_numpy("y")
    assert answer.tolist() == [[2, 3, 4, 5]] * 2


def test_a_savedmodel_that_openvino_cannot_compute_says_why(
    controller: StandInController, start_agent: StartAgent
) -> None:
    start_agent()
    text, length = np.zeros(1, np.float32), np.zeros(1, np.int32)
    version = controller.add_folder(savedmodel("string_input"), _SAVEDMODEL, {"text": text}, {"length": length})
    controller.want(r1=version)
    assert "StringLength" in controller.wait_seen("r1", BACKOFF).message


def test_a_plan_is_nothing_for_this_node(controller: StandInController, start_agent: StartAgent) -> None:
    start_agent()
    x = np.zeros(1, np.float32)
    version = controller.add_folder(savedmodel("cnn"), resources_pb2.MODEL_FORMAT_TENSORRT, {"x": x}, {"y": x})
    controller.want(r1=version)
    message = controller.wait_seen("r1", BACKOFF).message
    assert "built-in: it serves ONNX and SavedModels, not TENSORRT" in message
