"""Which session a model gets, by what lies in its file or folder."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from modelyard.errors import InvalidArgumentError
from nodeagent.modelserver.session import Session
from nodeagent.modelserver.settings import ServerSettings

_SAVED_MODEL = "saved_model.pb"


def find_session(settings: ServerSettings) -> Callable[[], Session[Any]]:
    """What loads the model. Imports only what computes it: each of the libraries takes a good part of a start.

    Raises InvalidArgumentError where it cannot be served, as loading it does.
    """
    if (settings.file / _SAVED_MODEL).exists():
        return _find_openvino(settings)
    from nodeagent.modelserver.onnx_session import OnnxSession

    return partial(
        OnnxSession,
        _find_onnx(settings.file) if settings.file.is_dir() else settings.file,
        threads=settings.threads,
        max_string_elements=settings.max_string_elements,
        device=settings.device,
        gpu_memory_bytes=settings.gpu_memory_bytes,
    )


def _find_openvino(settings: ServerSettings) -> Callable[[], Session[Any]]:
    if settings.device != "cpu":
        raise InvalidArgumentError("SavedModels are computed on the CPU here: leave out --device")
    from nodeagent.modelserver.openvino_session import OpenVinoSession

    return partial(
        OpenVinoSession, settings.file, threads=settings.threads, inputs=settings.inputs, outputs=settings.outputs
    )


def _find_onnx(folder: Path) -> Path:
    """The model's own file, beside those of its weights."""
    found = sorted(folder.rglob("*.onnx"))
    if len(found) != 1:
        raise InvalidArgumentError(
            f"a folder with an ONNX model has one file called *.onnx, this has {len(found)}: register it again"
        )
    return found[0]
