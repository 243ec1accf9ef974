"""One real tritonserver at a time, started as the agent starts it, asked without a router."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from onnx import helper, numpy_helper
from tritonclient.grpc import service_pb2
from tritonclient.utils import np_to_triton_dtype

from modelyard.datatypes import BY_NAME
from modelyard.tensors import Array
from nodeagent.canary import CanaryError, Prober
from nodeagent.replica_spec import ReplicaSpec, TensorSpec
from nodeagent.runtimes.base import Launch, ServerPlan
from nodeagent.runtimes.triton import choose_ports
from tests.harness.models import write_scale_model
from tests.harness.onnx_models import (
    tensor,
    write_counting_model,
    write_identity_model,
    write_model,
    write_model_with_external_data,
    write_sum_model,
)
from tests.harness.programs import is_gone, wait_for
from tests.harness.savedmodels import SERVABLE, load_reference, savedmodel
from tests.harness.triton import RunningTriton, launch, make_runtime, needs_triton, running_triton
from tests.integration.modelserver.http2 import PingingConnection

pytestmark = needs_triton
_ROW = (TensorSpec("x", "FP32", (-1, 4)),)
_ROW_OUT = (TensorSpec("y", "FP32", (-1, 4)),)
SCALE = ReplicaSpec("r1", "scale", 3, "MODEL_FORMAT_ONNX", "ab" * 32, 10, _ROW, (), 1, 0, outputs=_ROW_OUT)


@pytest.fixture(scope="module")
def scale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTriton]:
    folder = tmp_path_factory.mktemp("triton")
    with running_triton(SCALE, write_scale_model(folder / "model.onnx", 2.0), folder) as running:
        yield running


def ask(running: RunningTriton, inputs: Mapping[str, Array], model: str = "scale", **fields: Any) -> dict[str, Array]:
    request = service_pb2.ModelInferRequest(model_name=model, **fields)
    for name, array in inputs.items():
        kind = next(kind for kind in BY_NAME.values() if kind.name != "BYTES" and kind.dtype == array.dtype)
        request.inputs.add(name=name, datatype=kind.name, shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    response = running.stub.ModelInfer(request, timeout=20)
    return {
        output.name: np.frombuffer(raw, BY_NAME[output.datatype].dtype).reshape(output.shape)
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


def test_it_answers_as_the_model_computes(scale: RunningTriton) -> None:
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    for version in ("", "3"):
        np.testing.assert_array_equal(ask(scale, {"x": rows}, model_version=version)["y"], rows * 2)


def test_what_it_says_of_the_model_is_what_was_registered(scale: RunningTriton) -> None:
    metadata = scale.stub.ModelMetadata(service_pb2.ModelMetadataRequest(name="scale"))
    assert (metadata.name, list(metadata.versions)) == ("scale", ["3"])
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [("x", "FP32", [-1, 4])]
    config = scale.stub.ModelConfig(service_pb2.ModelConfigRequest(name="scale", version="3")).config
    assert [(group.count, group.kind) for group in config.instance_group] == [(1, 2)]
    assert config.max_batch_size == 1 << 16 and not config.HasField("dynamic_batching")


def test_a_wrong_shape_is_refused_with_its_name(scale: RunningTriton) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        ask(scale, {"x": np.zeros((1, 5), np.float32)})
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "'x'" in str(caught.value.details())


def test_threads_and_packages_are_those_of_the_agent(scale: RunningTriton) -> None:
    (stub,) = scale.children()
    environment = stub.environ()
    assert environment["OMP_NUM_THREADS"] == "1"
    assert any("onnxruntime" in mapping.path for mapping in stub.memory_maps())


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("RepositoryModelLoad", service_pb2.RepositoryModelLoadRequest(model_name="scale")),
        ("RepositoryModelUnload", service_pb2.RepositoryModelUnloadRequest(model_name="scale")),
        ("SystemSharedMemoryStatus", service_pb2.SystemSharedMemoryStatusRequest()),
        ("LogSettings", service_pb2.LogSettingsRequest()),
        ("TraceSetting", service_pb2.TraceSettingRequest()),
    ],
)
def test_who_reaches_its_port_cannot_load_code_nor_read_memory(
    scale: RunningTriton, method: str, request_: Any
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        getattr(scale.stub, method)(request_, timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE and "restricted" in str(caught.value.details())


def test_it_tells_metrics(scale: RunningTriton) -> None:
    with socket.create_connection(("127.0.0.1", scale.plan.metrics_port)) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        told = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert b'nv_inference_request_success{model="scale",version="3"}' in told


def test_a_ping_every_moment_does_not_end_a_stream_that_stands_idle(scale: RunningTriton) -> None:
    """Envoy asks so whether a replica is there. gRPC's servers end a connection at the third that comes too soon."""
    request = service_pb2.ModelInferRequest(model_name="scale", raw_input_contents=[np.ones(4, np.float32).tobytes()])
    request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    with PingingConnection(scale.plan.port, "/inference.GRPCInferenceService/ModelStreamInfer") as connection:
        for _ in range(2):
            connection.send(request.SerializeToString(), last=False)
            answer = service_pb2.ModelStreamInferResponse.FromString(connection.receive()).infer_response
            assert np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [2.0] * 4
            for _ in range(8):
                connection.ping()
                time.sleep(0.1)


@pytest.mark.parametrize("datatype", ["BOOL", "UINT8", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64"])
def test_each_datatype_comes_back_as_it_went_in(tmp_path: Path, datatype: str) -> None:
    model = write_identity_model(tmp_path / "m.onnx", datatype, ["batch", 3])
    tensors = (TensorSpec("x", datatype, (-1, 3)),)
    spec = replace(SCALE, inputs=tensors, outputs=(replace(tensors[0], name="y"),))
    values = np.array([[0, 1, 1], [1, 0, 1]]).astype(BY_NAME[datatype].dtype)
    with running_triton(spec, model, tmp_path) as running:
        np.testing.assert_array_equal(ask(running, {"x": values})["y"], values)
        assert "Traceback" not in running.log()


def test_a_model_without_a_batch_dimension_and_an_error_of_the_data(tmp_path: Path) -> None:
    model = write_sum_model(tmp_path / "m.onnx")
    inputs = (TensorSpec("a", "FP32", (-1,)), TensorSpec("b", "FP32", (-1,)))
    outputs = (TensorSpec("sum", "FP32", (-1,)), TensorSpec("difference", "FP32", (1,)))
    a = np.array([1, 2], np.float32)
    with running_triton(replace(SCALE, inputs=inputs, outputs=outputs), model, tmp_path) as running:
        answer = ask(running, {"a": a, "b": a[:1]})
        np.testing.assert_array_equal(answer["sum"], [2, 3])
        assert list(answer) == ["sum", "difference"]  # as the model has them
        with pytest.raises(grpc.RpcError, match="cannot compute these inputs") as caught:
            ask(running, {"a": a, "b": np.zeros(3, np.float32)})
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_scalar_goes_in_and_out_as_one_element(tmp_path: Path) -> None:
    model = write_identity_model(tmp_path / "m.onnx", "INT64", [])
    spec = replace(SCALE, inputs=(TensorSpec("x", "INT64", ()),), outputs=(TensorSpec("y", "INT64", ()),))
    with running_triton(spec, model, tmp_path) as running:
        assert ask(running, {"x": np.array([7])})["y"].tolist() == [7]
        probe(spec, running)


@pytest.mark.parametrize("name", SERVABLE)
def test_a_savedmodel_answers_as_tensorflow_did(tmp_path: Path, name: str) -> None:
    reference = load_reference(name)
    spec = replace(
        SCALE,
        format="MODEL_FORMAT_SAVEDMODEL",
        inputs=tensors_of(reference.inputs),
        outputs=tensors_of(reference.outputs),
        output_names=tuple(reference.outputs),
    )
    with running_triton(spec, savedmodel(name), tmp_path) as running:
        answer = ask(running, reference.inputs)
        for key, expected in reference.outputs.items():
            np.testing.assert_allclose(answer[key], expected, rtol=1e-5, atol=1e-5)


def tensors_of(arrays: Mapping[str, Array]) -> tuple[TensorSpec, ...]:
    """All dimensions but the first, where there are others, are fixed."""
    return tuple(
        TensorSpec(name, np_to_triton_dtype(array.dtype), (-1, *array.shape[1:]) if array.ndim > 1 else array.shape)
        for name, array in arrays.items()
    )


def test_weights_in_files_of_their_own(tmp_path: Path) -> None:
    model = tmp_path / "cached"
    model.mkdir()
    factors = np.array([1, 2, 3], np.float32)
    write_model_with_external_data(model / "some-name.onnx", factors)
    tensors = (TensorSpec("x", "FP32", (-1, 3)),)
    spec = replace(SCALE, inputs=tensors, outputs=(replace(tensors[0], name="y"),), packaging="PACKAGING_TAR")
    with running_triton(spec, model, tmp_path) as running:
        np.testing.assert_array_equal(ask(running, {"x": np.ones((2, 3), np.float32)})["y"], [factors, factors])


def test_requests_are_merged_where_the_deployment_asks_for_it(tmp_path: Path) -> None:
    spec = replace(SCALE, max_batch_rows=8, max_batch_wait_us=200_000)
    with running_triton(spec, write_scale_model(tmp_path / "m.onnx", 2.0), tmp_path) as running:
        rows = [np.full((1, 4), number, np.float32) for number in range(8)]
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda row: ask(running, {"x": row})["y"], rows))
        for row, answer in zip(rows, answers, strict=True):
            np.testing.assert_array_equal(answer, row * 2)
        statistics = wait_counted(running, 8)
        assert statistics.inference_count == 8 > statistics.execution_count
        with pytest.raises(grpc.RpcError, match="batch-size must be <= 8"):
            ask(running, {"x": np.zeros((9, 4), np.float32)})


def test_a_wrong_request_among_merged_ones_fails_alone(tmp_path: Path) -> None:
    """y[b, 1] = table[x[b, 1]], of a table of 4."""
    table = numpy_helper.from_array(np.array([10, 11, 12, 13], np.float32), "table")
    model = write_model(
        tmp_path / "m.onnx",
        [helper.make_node("Gather", ["table", "x"], ["y"])],
        [tensor("x", "INT64", ["batch", 1])],
        [tensor("y", "FP32", ["batch", 1])],
        [table],
    )
    spec = replace(
        SCALE,
        inputs=(TensorSpec("x", "INT64", (-1, 1)),),
        outputs=(TensorSpec("y", "FP32", (-1, 1)),),
        max_batch_rows=4,
        max_batch_wait_us=10_000_000,  # it waits for no more than the four, and for each of them
    )
    with running_triton(spec, model, tmp_path) as running, ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, running, {"x": np.array([[index]])}) for index in (0, 99, 2, 3)]
        assert [asked[index].result()["y"].tolist() for index in (0, 2, 3)] == [[[10.0]], [[12.0]], [[13.0]]]
        with pytest.raises(grpc.RpcError, match="cannot compute these inputs"):
            asked[1].result()
        assert wait_counted(running, 4).execution_count == 1


def wait_counted(running: RunningTriton, requests: int) -> Any:
    """The statistics once so many have come to their end: Triton counts an answer a moment after it was sent."""

    def read() -> Any:
        (statistics,) = running.stub.ModelStatistics(service_pb2.ModelStatisticsRequest(name="scale")).model_stats
        told = statistics.inference_stats
        is_counted = told.success.count + told.fail.count >= requests and statistics.execution_count
        return statistics if is_counted else None

    return wait_for(read, f"the count of {requests} requests")


def probe(spec: ReplicaSpec, running: RunningTriton, times: int = 1) -> None:
    async def ask_times() -> None:
        prober = Prober(spec, "127.0.0.1", running.plan.port, 1 << 20, "")
        try:
            for number in range(1, times + 1):
                await prober.probe(30.0)
                await asyncio.to_thread(wait_counted, running, number)  # or the next one takes it for another's
        finally:
            await prober.close()

    asyncio.run(ask_times())


def test_a_folder_with_a_space_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    spec = replace(SCALE, model="m" * 98 + ".b")
    with running_triton(spec, write_scale_model(folder / "m.onnx", 2.0), folder) as running:
        assert ask(running, {"x": np.ones((1, 4), np.float32)}, spec.model)["y"].tolist() == [[2.0] * 4]


def test_each_probe_of_an_idle_replica_is_an_inference(tmp_path: Path) -> None:
    with running_triton(SCALE, write_scale_model(tmp_path / "m.onnx", 2.0), tmp_path) as running:
        probe(SCALE, running, times=5)
        assert wait_counted(running, 5).inference_stats.success.count == 5


def test_a_dead_process_of_its_model_is_found_though_it_says_that_it_is_ready(tmp_path: Path) -> None:
    with running_triton(SCALE, write_scale_model(tmp_path / "m.onnx", 2.0), tmp_path) as running:
        (stub,) = running.children()
        stub.kill()
        with pytest.raises(CanaryError, match="INTERNAL"):
            wait_for(lambda: probe(SCALE, running), "an end")
        assert running.stub.ModelReady(service_pb2.ModelReadyRequest(name="scale")).ready


def test_on_sigterm_it_finishes_what_it_began(tmp_path: Path) -> None:
    model = write_counting_model(tmp_path / "m.onnx")
    spec = replace(SCALE, inputs=(TensorSpec("n", "INT64", (1,)),), outputs=(TensorSpec("count", "FP32", ()),))
    with running_triton(spec, model, tmp_path) as running, ThreadPoolExecutor(1) as pool:
        before = running.children()[0].cpu_times().user
        answer = pool.submit(ask, running, {"n": np.array([300_000])})
        (stub,) = running.children()
        wait_for(lambda: stub.cpu_times().user > before + 0.1, "the inference's start")
        running.process.send_signal(signal.SIGTERM)
        assert answer.result(60)["count"].tolist() == [300_000]
        assert running.process.wait(30) == 0
        assert not running.segments()


def end_of(plan: ServerPlan, folder: Path) -> str:
    """What the runtime says of a Triton that ends by itself."""
    process = launch(plan, folder)
    try:
        code = process.wait(90)
    finally:
        process.kill()
    return make_runtime().explain_exit(code, (folder / "log").read_text()[-16384:])


def test_a_port_that_is_taken_meanwhile_is_named(tmp_path: Path) -> None:
    model = write_scale_model(tmp_path / "m.onnx", 2.0)
    plan = make_runtime().plan(Launch(SCALE, model, tmp_path, "127.0.0.1"))
    with ExitStack() as stack:
        taken = stack.enter_context(socket.socket())
        taken.bind(("127.0.0.1", plan.port))
        taken.listen()
        assert end_of(plan, tmp_path).startswith(f"another program took 127.0.0.1:{plan.port} before Triton")
        # While it is taken: the kernel may well give it again afterwards.
        assert make_runtime().plan(Launch(SCALE, model, tmp_path, "127.0.0.1")).port != plan.port


def test_a_model_that_cannot_be_loaded_is_told_in_onnxruntimes_words(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no model")
    plan = make_runtime().plan(Launch(SCALE, tmp_path / "m.onnx", tmp_path, "127.0.0.1"))
    said = end_of(plan, tmp_path)
    assert said.startswith("Triton cannot load the model: ") and "onnxruntime cannot load it" in said
    assert "model.py" not in said


def test_a_configuration_that_it_does_not_take_is_told(tmp_path: Path) -> None:
    plan = make_runtime().plan(Launch(SCALE, write_scale_model(tmp_path / "m.onnx", 2.0), tmp_path, "127.0.0.1"))
    config = tmp_path / "models" / "scale" / "config.pbtxt"
    config.write_text(config.read_text() + "no_such_field: 3\n")
    assert end_of(plan, tmp_path).startswith("Triton cannot read the config.pbtxt that it was given: ")


def test_a_backend_that_is_not_there_is_told(tmp_path: Path) -> None:
    plan = make_runtime().plan(Launch(SCALE, write_scale_model(tmp_path / "m.onnx", 2.0), tmp_path, "127.0.0.1"))
    config = tmp_path / "models" / "scale" / "config.pbtxt"
    config.write_text(config.read_text().replace('backend: "python"', 'backend: "onnxruntime"'))
    assert "this Triton has no onnxruntime backend" in end_of(plan, tmp_path)


def test_ports_differ_and_are_of_the_address() -> None:
    assert len(set(choose_ports("127.0.0.1", 5))) == 5
    with pytest.raises(OSError):
        choose_ports("192.0.2.1", 1)


def test_kill_9_leaves_nothing(tmp_path: Path) -> None:
    with running_triton(SCALE, write_scale_model(tmp_path / "m.onnx", 2.0), tmp_path) as running:
        assert running.segments()
        (stub,) = running.children()
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait()
        wait_for(lambda: is_gone(stub), "the end of its model's process")
    assert not running.segments()
