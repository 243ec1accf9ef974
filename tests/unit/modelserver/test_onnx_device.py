"""Where onnxruntime computes, and what its errors on a GPU are in our words. No GPU is needed for either."""

from pathlib import Path

import pytest

from modelyard.errors import InternalError, InvalidArgumentError, ResourceExhaustedError, YardError
from nodeagent.modelserver.onnx_errors import domain_error
from nodeagent.modelserver.onnx_options import CPU, CUDA, check_providers, choose_providers
from nodeagent.modelserver.onnx_session import OnnxSession
from nodeagent.modelserver.session import DeviceLostError
from tests.harness.models import write_scale_model

ALL = ["TensorrtExecutionProvider", CUDA, CPU]
_CUDA_CALL = (
    "CUDA failure {0} ; GPU=0 ; hostname=h ; file=/x/cuda_allocator.cc ; line=71 ; expr=cudaMalloc((void**)&p, size); "
)


def test_the_gpu_comes_first_and_the_cpu_takes_what_it_cannot() -> None:
    [(name, options), rest] = choose_providers("cuda", 1 << 30, ALL)
    assert (name, rest, options["gpu_mem_limit"]) == (CUDA, CPU, str(1 << 30))
    [(_, options), _] = choose_providers("cuda", 0, ALL)
    assert "gpu_mem_limit" not in options
    assert choose_providers("cpu", 0, ALL) == [CPU]


def test_an_onnxruntime_without_cuda_says_what_to_install() -> None:
    with pytest.raises(InvalidArgumentError, match="computes on CPUExecutionProvider only: install onnxruntime-gpu"):
        choose_providers("cuda", 0, [CPU])


def test_a_gpu_that_is_given_and_not_used_is_no_silent_matter() -> None:
    check_providers("cpu", [CPU])
    check_providers("cuda", [CUDA, CPU])
    with pytest.raises(InvalidArgumentError, match="onnxruntime cannot use CUDA here: a library of CUDA or cuDNN"):
        check_providers("cuda", [CPU])


def test_a_server_told_to_use_cuda_without_it_refuses_to_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [CPU])
    with pytest.raises(InvalidArgumentError, match="install onnxruntime-gpu"):
        OnnxSession(write_scale_model(tmp_path / "m.onnx", 2.0), threads=1, max_string_elements=1, device="cuda")


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (
            "[ONNXRuntimeError] : 1 : FAIL : "
            + _CUDA_CALL.format("700: an illegal memory access was encountered"),
            DeviceLostError,
            "its GPU failed (CUDA error 700: an illegal memory access was encountered), and this process cannot",
        ),
        (_CUDA_CALL.format("719: unspecified launch failure"), DeviceLostError, "CUDA error 719"),
        (_CUDA_CALL.format("214: uncorrectable ECC error encountered"), DeviceLostError, "CUDA error 214"),
        (_CUDA_CALL.format("810: MPS client terminated"), DeviceLostError, "the replica is started again"),
        (_CUDA_CALL.format("2: out of memory"), ResourceExhaustedError, "not enough GPU memory for this request"),
        (
            "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; hostname=h ; expr=cublasCreate(&h)",
            ResourceExhaustedError,
            "not enough GPU memory",
        ),
        (
            "Non-zero status code returned while running Conv node. Status Message: bfc_arena.cc:376 void*"
            " onnxruntime::BFCArena::AllocateRawInternal(size_t) Available memory of 0 is smaller than requested"
            " bytes of 97517568",
            ResourceExhaustedError,
            "not enough memory for this request",
        ),
        (
            "CUDNN failure 719: CUDNN_STATUS_SOMETHING ; GPU=0 ; hostname=h ; expr=f()",
            InternalError,
            "the GPU could not compute it: CUDNN failure 719",
        ),
        (_CUDA_CALL.format("1: invalid argument"), InternalError, "the GPU could not compute it: CUDA failure 1"),
    ],
)  # fmt: skip
def test_errors_of_a_gpu_are_named_as_what_they_are(text: str, kind: type[YardError], words: str) -> None:
    error = domain_error(RuntimeError(text))
    assert type(error) is kind and words in error.message
    assert "hostname" not in error.message or kind is ResourceExhaustedError
