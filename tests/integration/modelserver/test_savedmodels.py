"""Unmodified Triton clients against a real server of TensorFlow SavedModels, compared to TensorFlow's own answers."""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from modelyard.tensors import Array
from tests.harness.models import write_scale_model
from tests.harness.onnx_models import write_model_with_external_data
from tests.harness.programs import Program, wait_for
from tests.harness.savedmodels import SERVABLE, load_reference, savedmodel
from tests.integration.modelserver.conftest import StartServer

TOKEN = "0123456789abcdef"


def serve(start_server: StartServer, name: str, *flags: str) -> Program:
    reference = load_reference(name)
    keys = [*(f"--input={key}" for key in reference.inputs), *(f"--output={key}" for key in reference.outputs)]
    return start_server(savedmodel(name), *keys, *flags)


def infer(client: triton.InferenceServerClient, inputs: Mapping[str, Array]) -> triton.InferResult:
    tensors = []
    for name, array in inputs.items():
        tensors.append(triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype)))
        tensors[-1].set_data_from_numpy(array)
    return client.infer("m", tensors, client_timeout=60)


@pytest.mark.parametrize("name", SERVABLE)
def test_the_answers_are_tensorflows(name: str, start_server: StartServer) -> None:
    server, reference = serve(start_server, name), load_reference(name)
    with triton.InferenceServerClient(server.facts["address"]) as client:
        metadata = client.get_model_metadata("m")
        assert metadata.platform == "tensorflow_savedmodel"
        assert [tensor.name for tensor in metadata.inputs] == list(reference.inputs)
        assert [tensor.name for tensor in metadata.outputs] == list(reference.outputs)
        result = infer(client, reference.inputs)
        for key, wanted in reference.outputs.items():
            answer = result.as_numpy(key)
            assert answer.dtype == wanted.dtype
            np.testing.assert_allclose(answer, wanted, rtol=1e-5, atol=1e-5)


def test_what_the_model_cannot_compute_is_the_callers_fault_and_hurts_nobody(start_server: StartServer) -> None:
    server, reference = serve(start_server, "two_in_two_out"), load_reference("two_in_two_out")
    with triton.InferenceServerClient(server.facts["address"]) as client:
        for _ in range(3):
            with pytest.raises(InferenceServerException, match="cannot compute these inputs") as caught:
                infer(client, {**reference.inputs, "values": reference.inputs["values"][:2]})
            assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
            answer = infer(client, reference.inputs).as_numpy("scaled")
            np.testing.assert_allclose(answer, reference.outputs["scaled"], rtol=1e-5)


def test_a_savedmodel_that_openvino_lacks_an_operator_for_is_told(start_server: StartServer) -> None:
    with pytest.raises(RuntimeError, match=r"cannot serve m@3: OpenVINO cannot load it: .*StringLength"):
        start_server(savedmodel("string_input"))


def count_request(times: int, request_id: str = "") -> Any:
    request = pb.ModelInferRequest(model_name="m", id=request_id)
    request.inputs.add(name="n", datatype="INT32", shape=[1]).contents.int_contents.append(times)
    return request


def test_a_canary_behind_others_hears_at_once_that_the_replica_is_busy(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELYARD_CANARY_TOKEN", TOKEN)
    server = serve(start_server, "counting")
    with grpc.insecure_channel(server.facts["address"]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert stub.ModelInfer(count_request(0, TOKEN)).outputs[0].name == "count"

        def refused() -> bool:
            try:
                stub.ModelInfer(count_request(0, TOKEN))
            except grpc.RpcError as error:
                return bool(error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED)
            return False

        def refused_while_busy() -> bool:
            """False, too, where this process was held up until the replica was not busy any more."""
            busy, found = stub.ModelInfer.future(count_request(1_000_000)), False
            while not found and not busy.done():
                found = refused() and not busy.done()
            assert np.frombuffer(busy.result(60).raw_output_contents[0], np.float32) == [1_000_000]
            return found

        wait_for(refused_while_busy, "a refused canary", 60)
        assert stub.ModelInfer(count_request(0, TOKEN)).outputs[0].name == "count"


def test_a_drain_does_not_wait_for_a_loop_that_nothing_can_end(start_server: StartServer) -> None:
    server = serve(start_server, "counting", "--drain-timeout-s", "0.2")
    with grpc.insecure_channel(server.facts["address"]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        endless = stub.ModelInfer.future(count_request(2**31 - 1))
        wait_for(lambda: psutil.Process(server.pid).cpu_percent(0.05) > 20, "the loop")
        assert server.stop() == 0
        assert endless.exception(10) is not None


def test_nothing_is_left_in_the_home_folder_and_nobody_is_told(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for variable in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, str(home))
    server, reference = serve(start_server, "cnn"), load_reference("cnn")
    with triton.InferenceServerClient(server.facts["address"]) as client:
        infer(client, reference.inputs)
        sockets = psutil.Process(server.pid).net_connections("inet")
        assert {connection.laddr.port for connection in sockets} == {server.facts["port"]}
        assert all(s.type == socket.SOCK_STREAM for s in sockets)
    assert server.stop() == 0
    assert not list(home.iterdir())


def loaded_libraries(server: Program) -> str:
    return " ".join(mapped.path for mapped in psutil.Process(server.pid).memory_maps())


def test_a_server_loads_only_what_computes_its_model(start_server: StartServer, tmp_path: Path) -> None:
    onnx = loaded_libraries(start_server(write_scale_model(tmp_path / "m.onnx", 2.0)))
    assert "onnxruntime" in onnx and "openvino" not in onnx
    savedmodel_server = loaded_libraries(serve(start_server, "cnn"))
    assert "openvino" in savedmodel_server and "onnxruntime" not in savedmodel_server


def test_an_onnx_model_with_its_weights_beside_it(start_server: StartServer, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    write_model_with_external_data(folder / "net.onnx", np.array([2, 3, 4, 5], np.float32))
    server = start_server(folder)
    with triton.InferenceServerClient(server.facts["address"]) as client:
        answer = infer(client, {"x": np.ones((2, 4), np.float32)}).as_numpy("y")
    assert answer.tolist() == [[2, 3, 4, 5]] * 2


@pytest.mark.parametrize("names", [[], ["a.onnx", "b.onnx"]])
def test_a_folder_without_one_model_is_told(names: list[str], start_server: StartServer, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in names:
        write_scale_model(folder / name, 2.0)
    with pytest.raises(RuntimeError, match=rf"one file called \*\.onnx, this has {len(names)}: register it again"):
        start_server(folder)
