"""What onnxruntime says, in our words."""

import re

from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from modelyard.errors import (
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
    YardError,
)
from nodeagent.modelserver.session import DeviceLostError

# What onnxruntime raises when a node of the graph cannot compute what it was given: the shapes or values did not fit.
_ERRORS_OF_THE_DATA = (ort_errors.Fail, ort_errors.InvalidArgument, ort_errors.RuntimeException, ValueError)
_LOAD_PREFIX = re.compile(r"Load model from .+? failed:\s*(?:Fatal error:\s*)?")
_CODE_PREFIX = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")
_SOURCE_PLACE = re.compile(r"\S+\.(?:cc|h):\d+ (?:.* was false\. |[^()]*\([^)]*\)(?: const)? ?)?")
# "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=..."
_CUDA_FAILURE = re.compile(r"(?:CUDA|CUDNN|CUBLAS|CURAND|CUFFT) failure (\d+): ([^;]*)")
# Of the CUDA runtime's cudaError_t: after these, "the process must be terminated and relaunched", or its MPS server is
# gone, which comes to the same.
_DEVICE_LOST = {46, 100, 214, 220, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 805, 806, 807, 810, 999}
_CUDA_OUT_OF_MEMORY = 2
_NO_MEMORY = ("Failed to allocate memory", "is smaller than requested bytes", "ALLOC_FAILED", "out of memory")


def domain_error(error: Exception) -> YardError:
    """Of what onnxruntime raised during an inference."""
    text = str(error)
    if "terminate flag" in text:
        return UnavailableError("the replica was stopped before it had finished; send the request again")
    failure = _CUDA_FAILURE.search(text)
    if failure and text[failure.start() :].startswith("CUDA") and int(failure[1]) in _DEVICE_LOST:
        return DeviceLostError(
            f"its GPU failed (CUDA error {failure[1]}: {failure[2].strip()}), and this process cannot use it any more:"
            " the replica is started again; send the request again"
        )
    if any(words in text for words in _NO_MEMORY) or isinstance(error, MemoryError):
        where = "GPU memory" if failure or "Cuda" in text else "memory"
        return ResourceExhaustedError(f"not enough {where} for this request: {shorten(text)}")
    if failure:
        return InternalError(f"the GPU could not compute it: {shorten(failure[0])}")
    if isinstance(error, _ERRORS_OF_THE_DATA):
        return InvalidArgumentError(f"the model cannot compute these inputs: {shorten(text)}")
    return InternalError(f"onnxruntime failed: {shorten(text)}")


def load_error(error: Exception) -> InvalidArgumentError:
    """Of what it raised while it loaded a model."""
    return InvalidArgumentError(f"onnxruntime cannot load it: {_LOAD_PREFIX.sub('', shorten(str(error)))}")


def shorten(text: str, limit: int = 300) -> str:
    """An error text of onnxruntime without its codes and the places in its source files."""
    line = _SOURCE_PLACE.sub("", _CODE_PREFIX.sub("", " ".join(text.split())))
    return line if len(line) <= limit else line[: limit - 3] + "..."
