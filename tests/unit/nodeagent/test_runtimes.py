import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from modelyard.errors import FailedPreconditionError
from nodeagent.modelserver.settings import ServerSettings
from nodeagent.replica_spec import ReplicaSpec, TensorSpec
from nodeagent.runtimes.base import Launch, choose_runtime
from nodeagent.runtimes.builtin import BuiltinRuntime

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
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == library else "there")
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
