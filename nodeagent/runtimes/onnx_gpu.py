"""Whether the onnxruntime that is installed here can compute on a GPU, found out without importing it.

The agent shall not carry a library of that size, and what it imports it keeps. Whether the libraries of CUDA are there
and fit is found out when a replica loads its model.
"""

import importlib.util
from pathlib import Path

# The file that each of onnxruntime's providers is in, in its wheels for a GPU.
_LIBRARY = "libonnxruntime_providers_cuda.so"


def onnxruntime_folder() -> Path | None:
    """None where it is not installed."""
    found = importlib.util.find_spec("onnxruntime")
    return Path(found.submodule_search_locations[0]) if found and found.submodule_search_locations else None


def why_no_gpu(folder: Path | None) -> str:
    """Why the onnxruntime in that folder cannot compute on a GPU, as a sentence; "" where it can."""
    if folder and (folder / "capi" / _LIBRARY).exists():
        return ""
    return "onnxruntime-gpu is not installed here; install it in place of onnxruntime to compute ONNX on a GPU"
