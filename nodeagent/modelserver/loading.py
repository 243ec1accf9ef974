"""Which session a model gets, by what lies in its file or folder."""

from pathlib import Path
from typing import Any

from modelyard.errors import InvalidArgumentError
from nodeagent.modelserver.session import Session
from nodeagent.modelserver.settings import ServerSettings

_SAVED_MODEL = "saved_model.pb"


def load_session(settings: ServerSettings) -> Session[Any]:
    """Imports only what computes this model: each of the libraries takes a good part of a replica's start.

    Raises InvalidArgumentError where it cannot be served.
    """
    if (settings.file / _SAVED_MODEL).exists():
        return _load_savedmodel(settings)
    from nodeagent.modelserver.onnx_session import OnnxSession

    file = _find_onnx(settings.file) if settings.file.is_dir() else settings.file
    return OnnxSession(file, threads=settings.threads, max_string_elements=settings.max_string_elements)


def _load_savedmodel(settings: ServerSettings) -> Session[Any]:
    from nodeagent.modelserver.openvino_session import OpenVinoSession

    return OpenVinoSession(settings.file, threads=settings.threads, inputs=settings.inputs, outputs=settings.outputs)


def _find_onnx(folder: Path) -> Path:
    """The model's own file, beside those of its weights."""
    found = sorted(folder.rglob("*.onnx"))
    if len(found) != 1:
        raise InvalidArgumentError(
            f"a folder with an ONNX model has one file called *.onnx, this has {len(found)}: register it again"
        )
    return found[0]
