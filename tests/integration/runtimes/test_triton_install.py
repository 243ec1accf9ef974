"""What is found of a Triton on this host, and Tritons that a command starts."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from nodeagent.runtimes.base import Launch
from nodeagent.runtimes.triton import TritonRuntime
from nodeagent.runtimes.triton_config import ConfigLimits
from nodeagent.runtimes.triton_install import find_triton, name_triton
from nodeagent.shared_memory import remove_segments
from tests.harness.models import write_scale_model
from tests.harness.onnx_models import write_model_with_external_data
from tests.harness.programs import wait_for
from tests.harness.triton import PROGRAM, launch, needs_triton
from tests.integration.runtimes.test_triton import SCALE

BACKENDS = PROGRAM.parent.parent / "backends"

# Stands in for the onnxruntime backend, by Triton's own way to write backends in Python: it looks where that one looks.
ONNXRUNTIME = """
import json, os
import numpy as np, onnxruntime as ort
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        folder = os.path.join(args["model_repository"], args["model_version"])
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(config["parameters"]["intra_op_thread_count"]["string_value"])
        file = config.get("default_model_filename") or "model.onnx"
        self.session = ort.InferenceSession(os.path.join(folder, file), options)

    def execute(self, requests):
        self.kept = []
        return [self.answer(request) for request in requests]

    def answer(self, request):
        feeds = {tensor.name(): np.from_dlpack(tensor).copy() for tensor in request.inputs()}
        (array,) = self.session.run(["y"], feeds)
        value = ort.OrtValue.ortvalue_from_numpy(array)
        self.kept += (array, value)
        return pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack("y", value)])
"""
# Does with its words what `docker run` does: looks at its options, starts the image's program, passes SIGTERM on.
CONTAINER = """#!{python}
import os, signal, subprocess, sys
words = sys.argv[sys.argv.index("image") + 1:]
open({note!r}, "w").write("\\n".join(sys.argv[1:sys.argv.index("image")]))
child = subprocess.Popen([{program!r}, "--backend-directory={backends}", *words])
signal.signal(signal.SIGTERM, lambda *_: child.terminate())
sys.exit(child.wait())
"""


@needs_triton
def test_the_real_one_is_found_with_its_release_and_its_backends() -> None:
    install = find_triton(PROGRAM, None)
    assert (install.version, install.problem, install.python_problem) == ("2.51.0", "", "")
    assert install.backends == {"python"} and install.backends_folder == BACKENDS


@needs_triton
def test_one_that_is_named_from_where_the_agent_stands_is_found_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PROGRAM.parent)
    install = find_triton(Path("./tritonserver"), Path("../backends"))
    assert Path(install.command[0]).is_absolute() and install.backends_folder
    assert install.backends_folder.is_absolute() and not install.problem


def write_program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_one_that_does_not_start_is_offered_as_nothing_and_its_words_are_told(tmp_path: Path) -> None:
    program = write_program(tmp_path / "bin" / "tritonserver", "#!/bin/sh\necho libdcgm.so is missing >&2; exit 127\n")
    assert f"{program} has no backends beside it" in find_triton(program, None).problem
    (tmp_path / "backends").mkdir()
    install = find_triton(program, None)
    assert install.problem == f"{program} does not start: libdcgm.so is missing"
    assert not TritonRuntime(install, ConfigLimits(1), 1.0).offer().cpu_formats
    with pytest.raises(ValueError, match=r"--triton-backends .* is not a folder"):
        find_triton(program, tmp_path / "none")


@pytest.mark.parametrize(("text", "words"), [("garbage", "Exec format error"), ("#!/no/such/sh\n", "No such file")])
def test_a_file_that_is_no_program_does_not_keep_the_agent_from_starting(tmp_path: Path, text: str, words: str) -> None:
    program = write_program(tmp_path / "bin" / "tritonserver", text)
    (tmp_path / "backends").mkdir()
    assert find_triton(program, None).problem.startswith(f"{program} does not start: {words}")


def test_one_that_is_too_old_is_told(tmp_path: Path) -> None:
    text = """#!/bin/sh
for word; do case $word in --grpc-r*) echo "$0: unrecognized option '$word'"; exit 1; esac; done
"""
    program = write_program(tmp_path / "bin" / "tritonserver", text)
    (tmp_path / "backends").mkdir()
    assert "too old: it does not know --grpc-restricted-protocol; install" in find_triton(program, None).problem


def test_a_folder_without_backends_is_told(tmp_path: Path) -> None:
    program = write_program(
        tmp_path / "bin" / "tritonserver", "#!/bin/sh\necho '| server_version | 2.60.0 |'; sleep 600\n"
    )
    (tmp_path / "backends" / "onnxruntime").mkdir(parents=True)
    assert "has none of Triton's backends in it" in find_triton(program, None).problem


def test_the_one_on_path_is_taken_and_a_python_of_another_release_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_program(tmp_path / "bin" / "tritonserver", "#!/bin/sh\necho '| server_version | 2.60.0 |'; sleep 600\n")
    python = tmp_path / "backends" / "python"
    python.mkdir(parents=True)
    (python / "libtriton_python.so").touch()
    (tmp_path / "backends" / "unfinished").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    install = find_triton(None, None)
    assert install.version == "2.60.0" and install.backends == {"python"}
    assert "lacks triton_python_backend_stub" in install.python_problem
    (python / "triton_python_backend_stub").write_bytes(b"\x7fELF..libpython3.8.so.1.0\0")
    reason = f"its Python backend is made for Python 3.8, and this agent runs on 3.{sys.version_info[1]}"
    assert find_triton(None, None).python_problem == reason


@pytest.fixture
def backends(tmp_path: Path) -> Path:
    (tmp_path / "backends" / "onnxruntime").mkdir(parents=True)
    (tmp_path / "backends" / "python").symlink_to(BACKENDS / "python")
    (tmp_path / "backends" / "onnxruntime" / "model.py").write_text(ONNXRUNTIME)
    return tmp_path / "backends"


@needs_triton
@pytest.mark.parametrize(("is_folder", "shell"), [(False, False), (True, False), (False, True)])
def test_a_triton_in_a_container_finds_the_model_and_gets_the_sigterm(
    tmp_path: Path, backends: Path, is_folder: bool, shell: bool
) -> None:
    """`shell`: as docs/triton.md removes what an earlier start has left."""
    note = tmp_path / "options"
    container = write_program(
        tmp_path / "docker",
        CONTAINER.format(python=sys.executable, note=str(note), program=str(PROGRAM), backends=backends),
    )
    model, factors = tmp_path / "cached", np.array([2, 3, 4, 5], np.float32)
    model.mkdir()
    if is_folder:
        write_model_with_external_data(model / "net.onnx", factors)
    else:
        model, factors = write_scale_model(model / "abc", 2.0), np.full(4, 2, np.float32)
    command = f"{container} run -v {{repository}}:{{repository}}:ro -v {{model}}:{{model}}:ro --cpus {{cores}} image"
    if shell:
        command = f"sh -c 'rm --force no-{{name}} >/dev/null 2>&1; exec {command} \"$@\"' sh"
    runtime = TritonRuntime(name_triton(command, ("onnxruntime",)), ConfigLimits(100), 5.0)
    spec = replace(SCALE, cores=(0, 1), threads=2)
    assert not runtime.why_not(spec)
    plan = runtime.plan(Launch(spec, model, tmp_path, "127.0.0.1"))
    process = launch(plan, tmp_path)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{plan.port}") as channel:
            answer = wait_for(lambda: infer(channel, np.ones((2, 4), np.float32)), "its answer", 90)
            assert answer == [factors.tolist()] * 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (tmp_path / "log").read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        remove_segments(tmp_path)
    repository = tmp_path / "models"
    volumes = [f"{repository}:{repository}:ro", "-v", f"{model}:{model}:ro"]
    assert note.read_text().split("\n") == ["run", "-v", *volumes, "--cpus", "0,1"]


def infer(channel: grpc.Channel, rows: np.ndarray) -> list[list[float]] | None:
    """None while nobody answers."""
    request = service_pb2.ModelInferRequest(model_name="scale", raw_input_contents=[rows.tobytes()])
    request.inputs.add(name="x", datatype="FP32", shape=rows.shape)
    try:
        response = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=30)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return None
        raise
    array = np.frombuffer(response.raw_output_contents[0], np.float32).reshape(rows.shape)
    return [[float(value) for value in row] for row in array]
