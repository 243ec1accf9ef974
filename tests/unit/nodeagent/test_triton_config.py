import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from modelyard.errors import InvalidArgumentError
from nodeagent.replica_spec import GpuShare, ReplicaSpec, TensorSpec
from nodeagent.runtimes.base import Launch
from nodeagent.runtimes.triton_backends import BACKENDS, Backend
from nodeagent.runtimes.triton_config import ConfigLimits, make_config
from nodeagent.runtimes.triton_repository import write_repository

LIMITS = ConfigLimits(max_batch_size=1000)
SPEC = ReplicaSpec(
    "r1", "resnet", 3, "MODEL_FORMAT_ONNX", "ab" * 32, 10,
    (TensorSpec("x", "FP32", (-1, 3, 224, -1)), TensorSpec("n", "BYTES", (-1, 1))), (), 4, 0,
    outputs=(TensorSpec("y", "FP16", (-1, 10)),),
)  # fmt: skip
ONNX, PYTHON = BACKENDS["MODEL_FORMAT_ONNX"]
(TENSORFLOW, _) = BACKENDS["MODEL_FORMAT_SAVEDMODEL"]
(TENSORRT,) = BACKENDS["MODEL_FORMAT_TENSORRT"]


def config_of(spec: ReplicaSpec, backend: Backend = ONNX) -> Any:
    return make_config(Launch(spec, Path("/cache/file"), Path("/replicas/r1"), "127.0.0.1"), backend, LIMITS)


def tensors(*shapes: tuple[int, ...]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(f"t{index}", "FP32", shape) for index, shape in enumerate(shapes))


def test_dims_leave_out_the_batch() -> None:
    config = config_of(SPEC)
    assert (config.name, config.backend, config.max_batch_size) == ("resnet", "onnxruntime", 1000)
    assert [(tensor.name, list(tensor.dims)) for tensor in config.input] == [("x", [3, 224, -1]), ("n", [1])]
    names = [model_config_pb2.DataType.Name(tensor.data_type) for tensor in (*config.input, *config.output)]
    assert names == ["TYPE_FP32", "TYPE_STRING", "TYPE_FP16"]
    assert list(config.version_policy.specific.versions) == [3]


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([(-1, 4)], [(1, 4)]),  # an output that has no batch
        ([(-1, 4), (4,)], [(-1, 4)]),
        ([(-1,)], [(-1, 4)]),  # Triton would take [n, 1] for it
        ([()], [()]),
    ],
)
def test_without_a_batch_of_whole_rows_the_shapes_are_those_that_were_registered(
    inputs: list[tuple[int, ...]], outputs: list[tuple[int, ...]]
) -> None:
    config = config_of(replace(SPEC, inputs=tensors(*inputs), outputs=tensors(*outputs), max_batch_rows=8))
    assert config.max_batch_size == 0 and not config.HasField("dynamic_batching")
    assert [tuple(tensor.dims) for tensor in config.input] == [shape or (1,) for shape in inputs]
    assert [tuple(tensor.dims) for tensor in config.output] == [shape or (1,) for shape in outputs]


@pytest.mark.parametrize("rows", [0, 1])
def test_nothing_is_merged_unless_it_was_asked_for(rows: int) -> None:
    config = config_of(replace(SPEC, max_batch_rows=rows, max_batch_wait_us=100))
    assert config.max_batch_size == 1000 and not config.HasField("dynamic_batching")


def test_requests_are_merged_within_bounds() -> None:
    config = config_of(replace(SPEC, max_batch_rows=8, max_batch_wait_us=500))
    assert config.max_batch_size == 8
    assert config.dynamic_batching.max_queue_delay_microseconds == 500
    # A bounded queue makes Triton let requests lie for half a second.
    assert not config.dynamic_batching.HasField("default_queue_policy")


def test_one_instance_on_the_cores_or_on_the_one_gpu_that_it_sees() -> None:
    (on_cpu,) = config_of(SPEC).instance_group
    assert (on_cpu.count, on_cpu.kind, list(on_cpu.gpus)) == (1, on_cpu.KIND_CPU, [])
    gpu = GpuShare("GPU-1", 50, 1 << 30)
    (on_gpu,) = config_of(replace(SPEC, format="MODEL_FORMAT_TENSORRT", gpu=gpu), TENSORRT).instance_group
    assert (on_gpu.count, on_gpu.kind, list(on_gpu.gpus)) == (1, on_gpu.KIND_GPU, [0])


@pytest.mark.parametrize("rows", [0, 1, 8])
def test_of_a_plan_the_backend_completes_what_is_not_known(rows: int) -> None:
    """Also how many rows it takes: Triton does not start where it is told more."""
    spec = replace(SPEC, format="MODEL_FORMAT_TENSORRT", inputs=(), outputs=(), max_batch_rows=rows)
    config = config_of(replace(spec, gpu=GpuShare("GPU-1", 50, 1 << 30)), TENSORRT)
    assert (len(config.input), len(config.output)) == (0, 0)
    assert (config.max_batch_size, config.HasField("dynamic_batching")) == ((8, True) if rows == 8 else (0, False))


def parameters(config: Any) -> dict[str, str]:
    return {name: value.string_value for name, value in config.parameters.items()}


def test_each_backend_is_told_the_threads_in_its_own_words() -> None:
    assert parameters(config_of(SPEC))["intra_op_thread_count"] == "4"
    tensorflow = config_of(replace(SPEC, format="MODEL_FORMAT_SAVEDMODEL"), TENSORFLOW)
    assert parameters(tensorflow)["TF_NUM_INTRA_THREADS"] == "4"
    assert tensorflow.platform == "tensorflow_savedmodel"
    flags = json.loads(parameters(config_of(SPEC, PYTHON))["model_server_flags"])
    assert dict(zip(flags[::2], flags[1::2], strict=True)) == {
        "--model": "resnet", "--version": "3", "--file": "/cache/file", "--threads": "4", "--max-batch-rows": "1",
    }  # fmt: skip


@pytest.fixture
def cached(tmp_path: Path) -> Path:
    file = tmp_path / "cache" / "abc"
    file.parent.mkdir()
    file.write_bytes(b"model")
    return file


def write(tmp_path: Path, spec: ReplicaSpec, file: Path, backend: Backend) -> Path:
    """The model's folder in a repository that was there before."""
    repository = tmp_path / "models"
    (repository / "old" / "1").mkdir(parents=True)
    write_repository(repository, Launch(spec, file, tmp_path, "127.0.0.1"), backend, LIMITS)
    assert [model.name for model in repository.iterdir()] == ["resnet"]
    return repository / "resnet"


@pytest.mark.parametrize(("backend", "name"), [(ONNX, "model.onnx"), (TENSORRT, "model.plan")])
def test_a_file_is_linked_under_the_name_that_its_backend_looks_for(
    tmp_path: Path, cached: Path, backend: Backend, name: str
) -> None:
    model = write(tmp_path, SPEC, cached, backend)
    assert (model / "3" / name).read_bytes() == b"model"
    config = text_format.Parse((model / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    assert (config.backend, config.default_model_filename) == (backend.name, "")


def test_a_savedmodel_is_linked_as_a_folder(tmp_path: Path, cached: Path) -> None:
    (cached.parent / "saved_model.pb").touch()
    model = write(tmp_path, SPEC, cached.parent, TENSORFLOW)
    assert (model / "3" / "model.savedmodel" / "saved_model.pb").exists()


def test_a_model_with_files_of_weights_is_the_folder_of_its_version(tmp_path: Path, cached: Path) -> None:
    inner = cached.parent / "inner"
    inner.mkdir()
    (inner / "some.onnx").touch()
    model = write(tmp_path, SPEC, cached.parent, ONNX)
    assert (model / "3").resolve() == inner
    assert 'default_model_filename: "some.onnx"' in (model / "config.pbtxt").read_text()
    (inner / "other.onnx").touch()
    with pytest.raises(InvalidArgumentError, match="this has 2"):
        write_repository(tmp_path / "again", Launch(SPEC, cached.parent, tmp_path, "::1"), ONNX, LIMITS)


def test_the_python_backend_gets_code_and_no_link(tmp_path: Path, cached: Path) -> None:
    model = write(tmp_path, SPEC, cached, PYTHON)
    assert [file.name for file in (model / "3").iterdir()] == ["model.py"]
    assert "class TritonPythonModel" in (model / "3" / "model.py").read_text()
