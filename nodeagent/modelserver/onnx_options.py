"""How onnxruntime is set up for one replica, and where it computes."""

from collections.abc import Sequence
from typing import Any

import onnxruntime as ort

from modelyard.errors import InvalidArgumentError

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def session_options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    # The allocation says how many cores this replica has. OMP_NUM_THREADS means nothing to onnxruntime.
    options.intra_op_num_threads = threads
    # Independent branches one after the other: a second pool would only fight the first for the same cores.
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # A spinning pool burns the cores of its neighbours, and of this process's own gRPC threads, between two requests.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # The arena keeps the memory of the largest request so far: malloc and page faults for each run cost more.
    options.enable_cpu_mem_arena = True
    options.enable_mem_reuse = True
    # With the arena, the plan kept for each set of input shapes takes half a kilobyte; without it, memory without end.
    options.enable_mem_pattern = True
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # errors; warnings are about the model's style
    return options


def choose_providers(device: str, gpu_memory_bytes: int, available: Sequence[str]) -> list[Any]:
    """What computes the nodes of a graph, the preferred first; `available`: what this onnxruntime was built with.

    `gpu_memory_bytes`: 0: no limit. Raises InvalidArgumentError where it was built without CUDA and that is asked for.
    """
    if device == "cpu":
        return [CPU]
    if CUDA not in available:
        raise InvalidArgumentError(
            f"this onnxruntime computes on {', '.join(available) or 'nothing'} only: install onnxruntime-gpu in place"
            " of onnxruntime"
        )
    # By default its arena doubles what it takes each time, and so takes up to twice what a model needs.
    options = {"arena_extend_strategy": "kSameAsRequested"}
    if gpu_memory_bytes:
        options["gpu_mem_limit"] = str(gpu_memory_bytes)
    return [(CUDA, options), CPU]


def check_providers(device: str, used: Sequence[str]) -> None:
    """onnxruntime goes on with the CPU, and a warning, where it cannot load the libraries of the GPU.

    Raises InvalidArgumentError there: a replica that was given a GPU and computes without it helps nobody.
    """
    if device != "cpu" and CUDA not in used:
        raise InvalidArgumentError(
            "onnxruntime cannot use CUDA here: a library of CUDA or cuDNN is missing or does not fit its release, or"
            " the GPU cannot be used; its own words come before this in the log"
        )
