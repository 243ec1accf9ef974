"""How a server ended is told with the cause, where its exit or its words tell one, and with what to do about it."""

import signal

import pytest

from nodeagent.exit_reasons import Ending, describe_ending, last_words


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (None, "its process ended: bye"),
        (0, "its process ended with code 0: bye"),
        (3, "its process ended with code 3: bye"),
        (-signal.SIGSEGV, "its process was killed by SIGSEGV: bye"),
        (-(signal.SIGRTMIN + 1), f"its process was killed by signal {signal.SIGRTMIN + 1}: bye"),
    ],
)
def test_how_a_server_ended_is_told(code: int | None, sentence: str) -> None:
    assert describe_ending(Ending(code, "bye\n")) == sentence


# What programs really said as they ended.
_ORT_PROVIDER = (
    "2024-03-27 06:33:23.219728338 [E:onnxruntime:Default, provider_bridge_ort.cc:1548 TryGetProviderInfo_CUDA] "
    "/onnxruntime_src/onnxruntime/core/session/provider_bridge_ort.cc:1209 onnxruntime::Provider& "
    "onnxruntime::ProviderLibrary::Get() [ONNXRuntimeError] : 1 : FAIL : Failed to load library "
    "libonnxruntime_providers_cuda.so with error: libcublasLt.so.12: cannot open shared object file: "
    "No such file or directory"
)
_ORT_GPU_MEMORY = (
    "onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException: [ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : "
    "Non-zero status code returned while running Conv node. Name:'Conv_111' Status Message: "
    "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal"
    "(size_t, bool) Failed to allocate memory for requested buffer of size 13111296"
)
_ORT_CUDA = (
    "[ONNXRuntimeError] : 1 : FAIL : cuda_call.cc:121 onnxruntime::CudaCall CUDA failure 2: out of memory ; GPU=0 ; "
    "hostname=n1 ; file=cuda_stream_handle.cc ; line=175 ; expr=cudaStreamCreateWithFlags(&stream, "
    "cudaStreamNonBlocking);"
)
_ORT_ILLEGAL = "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=n1 ; expr=cudaMemcpy"
_TRITON_PORT = (
    "E0118 08:25:14.316508 570 main.cc:245] failed to start GRPC service: Unavailable - "
    "Socket '0.0.0.0:2222' already in use "
)
_TRITON_DRIVER = (
    "W0322 05:27:28.710276 70 pinned_memory_manager.cc:271] Unable to allocate pinned system memory, pinned memory "
    "pool will not be available: CUDA driver version is insufficient for CUDA runtime version"
)
_GRPC_PORT = (
    "E0109 19:34:35.165873190   11729 chttp2_server.cc:1080]      UNKNOWN:No address added out of total 1 resolved for "
    "'0.0.0.0:5001' {children:[UNKNOWN:Unable to configure socket {fd:203, children:[UNKNOWN:Address already in use "
    '{syscall:"bind", os_error:"Address already in use", errno:98}]}]}'
)
_LOADER = (
    "/opt/tritonserver/bin/tritonserver: error while loading shared libraries: libpython3.11.so.1.0: "
    "cannot open shared object file: No such file or directory"
)
_GLIBC = (
    "/opt/tritonserver/bin/tritonserver: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found "
    "(required by /opt/tritonserver/bin/tritonserver)"
)
_IMPORT = (
    "Traceback (most recent call last):\n"
    '  File "/app/nodeagent/modelserver/onnx_session.py", line 9, in <module>\n'
    "    import onnxruntime as ort\n"
    "ModuleNotFoundError: No module named 'onnxruntime'\n"
)
_SYMBOL = (
    "ImportError: /venv/lib/onnxruntime/capi/onnxruntime_pybind11_state.so: undefined symbol: PyUnicode_AsUTF8AndSize"
)
_IMPORT_NAME = "ImportError: cannot import name 'service_pb2' from 'tritonclient.grpc' (unknown location)"
_MPS = (
    "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 805: MPS client failed to connect to the MPS "
    "control daemon or the MPS server"
)


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (_ORT_PROVIDER, "the library libcublasLt.so.12 is missing on this host: install the package that has it"),
        (_LOADER, "the library libpython3.11.so.1.0 is missing on this host"),
        (_GLIBC, "the system libraries of this host are too old, GLIBC_2.38 is missing"),
        (_SYMBOL, "two of its libraries do not fit together, PyUnicode_AsUTF8AndSize is missing"),
        (_IMPORT, "the Python package onnxruntime is missing: install this project with its extra `agent`"),
        (_IMPORT_NAME, "a Python package cannot be imported, cannot import name 'service_pb2'"),
        (_TRITON_PORT, "another program has taken the port that it was to listen on"),
        (_GRPC_PORT, "another program has taken the port"),
        (_MPS, "it cannot reach the MPS daemon of its GPU"),
        (_ORT_CUDA, "the memory of its GPU ran out: deploy it with more --gpu-memory"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.", "the memory of its GPU ran out"),
        ("../rtSafe/safeRuntime.cpp (25) - Cuda Error in allocate: 2 (out of memory)", "the memory of its GPU ran out"),
        ("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0", "the memory of its GPU ran out"),
        ("Internal: CUDA driver version is insufficient for CUDA runtime version", "the NVIDIA driver"),
        ("CUDA failure 100: no CUDA-capable device is detected ; GPU=0", "it does not find its GPU"),
        ("CUDA failure 214: uncorrectable ECC error encountered ; GPU=0", "its GPU is broken"),
        ("the provided PTX was compiled with an unsupported toolchain.", "its libraries or its model were built"),
        (_ORT_ILLEGAL, "CUDA failed under it, CUDA failure 700: an illegal memory access was encountered"),
        ("RuntimeError: CUDA error: device-side assert triggered", "CUDA failed under it, CUDA error: device-side"),
        (_ORT_GPU_MEMORY, "there was no memory for a buffer of 13111296 bytes"),
        ("terminate called after throwing an instance of 'std::bad_alloc'", "there was no memory left"),
        ("Traceback (most recent call last):\nMemoryError", "there was no memory left for it: deploy it with"),
        ("OSError: [Errno 28] No space left on device: '/dev/shm/x'", "a disk is full, or /dev/shm: look at `df`"),
        ("RuntimeError: can't start new thread", "it may start no more threads: raise the limit of processes"),
    ],
)  # fmt: skip
def test_what_a_server_said_is_named_as_what_it_is(words: str, cause: str) -> None:
    told = describe_ending(Ending(1, words))
    assert told.startswith(cause)
    assert "(its process ended with code 1: " in told


@pytest.mark.parametrize("words", [_TRITON_DRIVER, "2026-11-26T02:41:45.085Z WARNING x: No space left on device"])
def test_what_a_server_only_warned_of_is_no_cause(words: str) -> None:
    assert describe_ending(Ending(1, words)).startswith("its process ended with code 1")


def test_what_was_said_long_before_the_end_is_no_cause() -> None:
    assert describe_ending(Ending(-signal.SIGSEGV, _ORT_CUDA + "\n" + "served\n" * 50)).startswith("its process was")


def test_an_end_that_the_kernel_made_for_want_of_memory_is_told_as_such() -> None:
    told = describe_ending(Ending(-signal.SIGKILL, "serving\n", oom_kills=1))
    assert told.startswith("it needed more memory than it was given, and the kernel ended it for that")
    assert "--memory" in told and "SIGKILL: serving" in told
    # The one that was ended may have been a child of the server, and the server ended by itself thereupon.
    assert describe_ending(Ending(1, _ORT_CUDA, oom_kills=1)).startswith("it needed more memory than it was given")


def test_a_kill_that_nobody_counted_may_have_been_for_want_of_memory() -> None:
    told = describe_ending(Ending(-signal.SIGKILL, _ORT_CUDA))
    assert told.startswith("something other than this agent killed it; the kernel does so when the host's memory runs")


def test_a_kill_of_the_agents_own_is_no_mystery() -> None:
    ending = Ending(-signal.SIGKILL, "serving\n", is_killed_by_agent=True, explained="never")
    assert describe_ending(ending) == "its process was killed by SIGKILL: serving"


def test_its_runtime_knows_best() -> None:
    told = describe_ending(Ending(1, _ORT_CUDA, explained="its config.pbtxt is wrong"))
    assert told.startswith("its config.pbtxt is wrong (its process ended with code 1: ")


def test_a_signal_can_be_a_cause() -> None:
    assert describe_ending(Ending(-signal.SIGILL, "")).startswith(
        "its libraries use an instruction that this CPU lacks"
    )


def test_the_last_words_begin_with_the_last_and_stay_short() -> None:
    log_tail = "".join(f"2026-11-26T02:41:45.085Z ERROR   server: line {number}\n\n" for number in range(9))
    assert last_words(log_tail + "    ^^^^\n") == "line 8 [before that: line 4 | line 5 | line 6 | line 7]"
    assert last_words("only\n") == "only"
    assert last_words("\n \n") == ""
    assert last_words("\x1b[31mred\x1b[0m \x1b]0;title\x07\n") == "red ?]0;title?"
    assert len(last_words("a" * 10_000 + "\n" + "b" * 10_000)) < 600


@pytest.mark.parametrize(
    "ending",
    [
        Ending(1, "ImportError: \x1b]0;title\x07\n"),
        Ending(1, "CUDA failure 700: \x1b[2J\x9b2J\n"),
        Ending(1, "", explained="the model \x1b]0;title\x07 is broken"),
    ],
)
def test_nothing_that_a_server_said_steers_the_terminal_of_who_reads_it(ending: Ending) -> None:
    assert describe_ending(ending).isprintable()
