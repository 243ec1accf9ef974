import importlib.util
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from modelyard.errors import FailedPreconditionError
from nodeagent.modelserver import exit_codes
from nodeagent.modelserver.settings import ServerSettings
from nodeagent.replica_spec import GpuShare, ReplicaSpec, TensorSpec
from nodeagent.runtimes.base import Launch, choose_runtime
from nodeagent.runtimes.builtin import BuiltinRuntime
from nodeagent.runtimes.onnx_gpu import onnxruntime_folder, why_no_gpu

SPEC = ReplicaSpec("r1", "resnet", 3, "MODEL_FORMAT_ONNX", "ab" * 32, 10, (), (0, 1), 2, 0)
BUILTIN = BuiltinRuntime(
    max_message_bytes=1 << 20,
    max_typed_bytes=1 << 19,
    max_string_elements=1 << 18,
    max_batch_size=1 << 10,
    max_concurrent_requests=64,
    drain_timeout_s=30.0,
)


def command_of(spec: ReplicaSpec) -> list[str]:
    return list(BUILTIN.plan(Launch(spec, Path("/cache/file"), Path("/replicas/r1"), "127.0.0.1")).command(7))


@dataclass(frozen=True)
class Refusing(BuiltinRuntime):
    name: str = "other"

    def why_not(self, spec: ReplicaSpec) -> str:
        return "it needs a GPU"


def test_the_first_that_can_is_chosen() -> None:
    assert choose_runtime([Refusing(1, 1, 1, 1, 1, 1.0), BUILTIN], SPEC) is BUILTIN


def test_where_none_can_each_says_why() -> None:
    plan = replace(SPEC, format="MODEL_FORMAT_TENSORRT")
    with pytest.raises(FailedPreconditionError) as raised:
        choose_runtime([Refusing(1, 1, 1, 1, 1, 1.0), BUILTIN], plan)
    assert raised.value.message == (
        "nothing on this node can serve resnet@3: other: it needs a GPU; "
        "built-in: it serves ONNX and SavedModels, not TENSORRT"
    )


@pytest.mark.parametrize(
    ("format_name", "library"), [("MODEL_FORMAT_ONNX", "onnxruntime"), ("MODEL_FORMAT_SAVEDMODEL", "openvino")]
)
def test_a_node_without_a_library_says_what_to_install(
    format_name: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(SPEC, format=format_name)
    assert BUILTIN.why_not(spec) == "" and format_name in BUILTIN.offer().cpu_formats
    find_spec = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == library else find_spec(name))
    assert BUILTIN.why_not(spec).startswith(f"{library} is not installed here; install this project with its extra")
    assert len(BUILTIN.offer().cpu_formats) == 1 and format_name not in BUILTIN.offer().cpu_formats


def test_the_served_signature_of_a_savedmodel_is_told_key_by_key() -> None:
    tensors = (TensorSpec("b", "FP32", (-1,)), TensorSpec("-a", "FP32", (-1,)))
    spec = replace(SPEC, format="MODEL_FORMAT_SAVEDMODEL", inputs=tensors, output_names=("y", "--port=1"))
    flags = command_of(spec)[4:]
    settings = ServerSettings.load(flags)
    assert (settings.inputs, settings.outputs, settings.port) == (("b", "-a"), ("y", "--port=1"), 0)
    assert ServerSettings.load(command_of(SPEC)[4:]).inputs == ()


def test_threads_are_set_by_flag_and_by_environment_together() -> None:
    plan = BUILTIN.plan(Launch(SPEC, Path("/cache/file"), Path("/replicas/r1"), "127.0.0.1"))
    command = plan.command(7)
    assert command[:4] == [sys.executable, "-P", "-m", "nodeagent.modelserver"]
    flags = dict(zip(command[4::2], command[5::2], strict=True))
    assert flags["--threads"] == plan.environment["OMP_NUM_THREADS"] == "2"
    assert (flags["--model"], flags["--version"], flags["--file"]) == ("resnet", "3", "/cache/file")
    assert (flags["--host"], flags["--port"], flags["--ready-fd"]) == ("127.0.0.1", "0", "7")
    assert (flags["--max-typed-bytes"], flags["--max-string-elements"]) == (str(1 << 19), str(1 << 18))


def settings_of(spec: ReplicaSpec, sample: Path | None = None) -> ServerSettings:
    launch = Launch(spec, Path("/cache/file"), Path("/replicas/r1"), "127.0.0.1", sample)
    return ServerSettings.load([*BUILTIN.plan(launch).command(7)][4:])


def test_batching_sample_and_metrics_are_told_to_the_server() -> None:
    settings = settings_of(replace(SPEC, max_batch_rows=8, max_batch_wait_us=300), Path("/cache/sample"))
    assert (settings.max_batch_rows, settings.max_batch_wait_us) == (8, 300)
    assert (settings.sample, settings.metrics_port) == (Path("/cache/sample"), 0)
    assert settings_of(SPEC).sample is None and settings_of(SPEC).max_batch_rows == 0


GPU = GpuShare("GPU-1", 50, 3 << 30)


def test_a_share_of_a_gpu_becomes_a_device_and_a_limit() -> None:
    settings = settings_of(replace(SPEC, gpu=GPU))
    assert (settings.device, settings.gpu_memory_bytes) == ("cuda", 3 << 30)
    assert (settings_of(SPEC).device, settings_of(SPEC).gpu_memory_bytes) == ("cpu", 0)


def test_onnx_is_computed_on_a_gpu_where_onnxruntime_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, savedmodel = replace(SPEC, gpu=GPU), replace(SPEC, gpu=GPU, format="MODEL_FORMAT_SAVEDMODEL")
    monkeypatch.setattr("nodeagent.runtimes.builtin.onnxruntime_folder", lambda: tmp_path)
    assert BUILTIN.why_not(spec).startswith("onnxruntime-gpu is not installed here")
    assert not BUILTIN.offer().gpu_formats
    (tmp_path / "capi").mkdir()
    (tmp_path / "capi" / "libonnxruntime_providers_cuda.so").touch()
    assert BUILTIN.why_not(spec) == "" and BUILTIN.offer().gpu_formats == {"MODEL_FORMAT_ONNX"}
    assert BUILTIN.why_not(savedmodel) == "it computes SAVEDMODEL on the CPU only"


def test_what_is_installed_here_is_found_without_importing_it() -> None:
    import onnxruntime as ort

    can = "CUDAExecutionProvider" in ort.get_available_providers()
    assert onnxruntime_folder() == Path(ort.__file__).parent
    assert (why_no_gpu(onnxruntime_folder()) == "") == can
    assert why_no_gpu(None)


def test_exit_codes_that_say_it_all_are_explained() -> None:
    log = "2026-01-01T00:00:00.000Z CRITICAL nodeagent.modelserver.main: its GPU failed (CUDA error 700: illegal)\n"
    assert "illegal" in BUILTIN.explain_exit(exit_codes.DEVICE, log)
    assert BUILTIN.explain_exit(exit_codes.DEVICE, "") == "its GPU failed"
    assert "taken by another program" in BUILTIN.explain_exit(exit_codes.PORT, log)
    assert BUILTIN.explain_exit(exit_codes.MODEL, log) == BUILTIN.explain_exit(-9, log) == ""
