"""What Triton offers on a host, and why not; how it is started, and what is made of its last words."""

from dataclasses import replace
from pathlib import Path

import pytest

from nodeagent.replica_spec import GpuShare, ReplicaSpec, TensorSpec
from nodeagent.runtimes.base import Launch, RuntimeOffer, choose_runtime
from nodeagent.runtimes.builtin import BuiltinRuntime
from nodeagent.runtimes.triton import TritonRuntime
from nodeagent.runtimes.triton_config import ConfigLimits
from nodeagent.runtimes.triton_exits import explain_triton_exit
from nodeagent.runtimes.triton_install import TritonInstall, find_triton, name_triton
from tests.unit.nodeagent.test_runtimes import BUILTIN

SPEC = ReplicaSpec(
    "r1@x", "resnet", 3, "MODEL_FORMAT_ONNX", "ab" * 32, 10, (TensorSpec("x", "FP32", (-1, 4)),), (2, 5), 2, 0,
    outputs=(TensorSpec("y", "FP32", (-1, 4)),),
)  # fmt: skip
ALL = frozenset({"onnxruntime", "tensorflow", "tensorrt", "python"})
FULL = TritonInstall(("/opt/tritonserver",), backends=ALL, backends_on_gpu=ALL, version="2.60.0")
GPU = GpuShare("GPU-5c3f", 50, 1 << 30)
ONNX, SAVEDMODEL, PLAN = (f"MODEL_FORMAT_{name}" for name in ("ONNX", "SAVEDMODEL", "TENSORRT"))


def triton(install: TritonInstall) -> TritonRuntime:
    return TritonRuntime(install, ConfigLimits(1000), 30.0)


def test_it_offers_what_its_backends_compute() -> None:
    offer = triton(FULL).offer()
    assert offer == RuntimeOffer("2.60.0", frozenset({ONNX, SAVEDMODEL}), frozenset({ONNX, SAVEDMODEL, PLAN}))
    python = triton(replace(FULL, backends=frozenset({"python"}))).offer()
    assert python == RuntimeOffer("2.60.0", frozenset({ONNX, SAVEDMODEL}))
    without_cuda = triton(replace(FULL, backends_on_gpu=ALL - {"onnxruntime"})).offer()
    assert ONNX in without_cuda.cpu_formats and ONNX not in without_cuda.gpu_formats
    broken = triton(replace(FULL, problem="it does not start")).offer()
    assert not broken.cpu_formats and not broken.gpu_formats


@pytest.mark.parametrize(
    ("install", "spec", "reason"),
    [
        (FULL, replace(SPEC, format=PLAN), "its tensorrt backend computes on GPUs only here"),
        (
            replace(FULL, backends=frozenset({"python"})),
            replace(SPEC, gpu=GPU),
            "this Triton has no onnxruntime backend; its python backend computes on CPUs only here",
        ),
        (TritonInstall(problem="it is not here"), replace(SPEC, format=PLAN), "it is not here"),
        (
            replace(FULL, backends=frozenset({"python"}), python_problem="its Python is 3.10"),
            SPEC,
            "this Triton has no onnxruntime backend; its Python is 3.10",
        ),
        (
            replace(FULL, backends=frozenset({"python"})),
            replace(SPEC, outputs=(TensorSpec("label", "BYTES", (-1, 1)),)),
            "this Triton has no onnxruntime backend; 'label' is BYTES, which its Python backend cannot carry",
        ),
        (FULL, replace(SPEC, format="MODEL_FORMAT_OTHER"), "it serves no OTHER"),
    ],
)
def test_it_says_why_it_cannot(install: TritonInstall, spec: ReplicaSpec, reason: str) -> None:
    assert triton(install).why_not(spec) == reason


def test_a_triton_in_a_container_gets_whole_gpus_only() -> None:
    contained = triton(replace(FULL, is_template=True))
    assert "whole GPUs only" in contained.why_not(replace(SPEC, gpu=GPU))
    assert not contained.why_not(replace(SPEC, gpu=replace(GPU, percent=100)))
    assert not contained.why_not(SPEC)
    assert not triton(FULL).why_not(replace(SPEC, gpu=GPU))


def test_a_model_of_which_nothing_is_known_is_not_guessed_at() -> None:
    assert "register it again" in triton(FULL).why_not(replace(SPEC, outputs=()))


def test_of_a_plan_only_its_backend_can_know_what_it_takes(tmp_path: Path) -> None:
    plan = replace(SPEC, format=PLAN, gpu=GPU, inputs=(), outputs=())
    assert not triton(FULL).why_not(plan)
    launch = Launch(plan, tmp_path, tmp_path, "127.0.0.1")
    assert "--disable-auto-complete-config" not in triton(FULL)._command(launch, 1, 2, -1)
    assert "--disable-auto-complete-config" in triton(FULL)._command(replace(launch, spec=SPEC), 1, 2, -1)


def test_the_built_in_server_comes_first_and_triton_where_it_was_asked_for() -> None:
    runtimes = (BUILTIN, triton(FULL))
    assert isinstance(choose_runtime(runtimes, SPEC), BuiltinRuntime)
    assert isinstance(choose_runtime(runtimes, replace(SPEC, runtime="triton")), TritonRuntime)
    assert isinstance(choose_runtime(runtimes, replace(SPEC, format=PLAN, gpu=GPU)), TritonRuntime)


def test_without_triton_on_path_the_reason_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "name its program: --triton" in find_triton(None, None).problem
    with pytest.raises(ValueError, match=r"--triton /no/such is not a program"):
        find_triton(Path("/no/such"), None)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("docker run image tritonserver", "has no {repository}"),
        ("docker run -v {repository} {volume} image", "'volume'.* there are {repository}, {model}, {gpu}"),
        ("docker run -v {repository} {} image", "placeholder that is not known"),
        ("docker run -v {repository", "placeholder|repository"),
        ("docker run -v {repository} 'image", "cannot be split into words: No closing quotation"),
    ],
)
def test_a_command_that_cannot_work_is_refused_at_the_start(command: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        name_triton(command, ("onnxruntime",))


def test_a_command_is_filled_in_and_no_word_of_it_is_split() -> None:
    command = "env -u X --volume={repository}:{repository}:ro {model} {gpu} {cores} {name} 'two words'"
    runtime = triton(name_triton(command, ("onnxruntime",)))
    launch = Launch(SPEC, Path("/cache/my file"), Path("/replicas/r1"), "::1")
    filled = runtime._command(launch, 1001, 1002, -1)
    assert filled[:9] == [
        "env", "-u", "X", "--volume=/replicas/r1/models:/replicas/r1/models:ro", "/cache/my file", "void", "2,5",
        "modelyard-r1-x", "two words",
    ]  # fmt: skip
    assert {"--grpc-address=[::1]", "--grpc-port=1001", "--metrics-port=1002"} < set(filled)
    assert not any(word.startswith("--backend-directory") for word in filled)
    on_gpu = replace(launch, spec=replace(SPEC, gpu=GPU))
    assert "GPU-5c3f" in runtime._command(on_gpu, 1001, 1002, -1)
    assert triton(name_triton("no-such-program {repository}", ())).why_not(SPEC).startswith("no-such-program, with")


_PLACE = "2026-11-26T02:42:22Z E 5934 main.cc:245] "


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        (
            "/opt/bin/tritonserver: error while loading shared libraries: libb64.so.0d: cannot open shared object file",
            "Triton needs libb64.so.0d, which is not here: install it, or set LD_LIBRARY_PATH for the agent",
        ),
        (
            'docker: Error response from daemon: Conflict. The container name "/modelyard-r1" is already in use by'
            ' container "5c3f". You have to remove (or rename) that container.',
            "a container modelyard-r1 is left from before: remove it (docker rm --force modelyard-r1), or let"
            " --triton-command do so; docs/triton.md",
        ),
        (
            f"{_PLACE}\"failed to start GRPC service: Unavailable - Socket '127.0.0.1:18201' already in use \"",
            "another program took 127.0.0.1:18201 before Triton could listen on it; the next try takes another",
        ),
        (
            f"{_PLACE}\"failed to load 'scale' version 3: Invalid argument: unable to find backend library for"
            " backend 'onnxruntime', try specifying"
            ' runtime on the model configuration."\nerror: creating server: Internal - failed to load all models',
            "this Triton has no onnxruntime backend: install it, or name another --triton-backends",
        ),
        (
            f"{_PLACE}\"Poll failed for model directory 'scale': failed to read text proto from /r/config.pbtxt\"\n"
            "error: creating server: Internal - failed to load all models",
            "Triton cannot read the config.pbtxt that it was given: failed to read text proto from /r/config.pbtxt",
        ),
        (
            f"{_PLACE}\"failed to load 'scale' version 3: Internal: ValueError: no such op\\n\\nAt:\\n  /r/model.py(3):"
            ' initialize\\n  <frozen x>(241): f\\n"\nerror: creating server: Internal - failed to load all models',
            "Triton cannot load the model: Internal: ValueError: no such op",
        ),
        (
            f"{_PLACE}\"failed to load 'm' version 1: Internal: unable to create TensorRT context: CUDA error: out of"
            ' memory"',
            "the GPU has not enough memory for this model: deploy it with a larger share, or more GPU memory",
        ),
        (
            'cuda_utils.cc:91] "CUDA error 719: unspecified launch failure, while synchronizing"',
            "the GPU failed: CUDA error 719: unspecified launch failure, while synchronizing",
        ),
        (
            "error: creating server: Internal - failed to stat file /r",
            "Triton does not start: Internal - failed to stat file /r",
        ),
        (
            '2026-11-26T02:42:19Z W 1 pinned_memory_manager.cc:273] "Unable to allocate pinned system memory, pinned'
            ' memory pool will not be available: CUDA driver version is insufficient for CUDA runtime version"\n'
            '2026-11-26T02:42:19Z E 1 server.cc:241] "CudaDriverHelper has not been initialized."\nSignal (15)',
            "",
        ),
        ("", ""),
    ],
)
def test_the_end_of_its_log_becomes_a_sentence(log: str, sentence: str) -> None:
    assert explain_triton_exit(log) == sentence


def test_a_long_reason_is_cut() -> None:
    assert len(explain_triton_exit(f"error: creating server: {'long ' * 1000}")) < 500
