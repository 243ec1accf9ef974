"""A replica's model repository: one model, one version, links to what the cache holds.

NAME/config.pbtxt
NAME/3/model.onnx, model.savedmodel, model.plan   links to the file or folder
NAME/3/model.py                                   the code of the Python backend, which is told where the file is
"""

import shutil
from pathlib import Path

from modelyard.errors import InvalidArgumentError
from nodeagent.runtimes.base import Launch
from nodeagent.runtimes.triton_backends import Backend
from nodeagent.runtimes.triton_config import ConfigLimits, make_config, to_text

_PYTHON_MODEL = Path(__file__).with_name("triton_python_model.py")


def write_repository(folder: Path, launch: Launch, backend: Backend, limits: ConfigLimits) -> None:
    """Anew. Raises InvalidArgumentError, OSError."""
    spec, file = launch.spec, launch.file
    shutil.rmtree(folder, ignore_errors=True)
    model = folder / spec.model
    model.mkdir(parents=True)
    version = model / str(spec.version)
    model_file = ""
    if backend.name == "python":
        version.mkdir()
        shutil.copyfile(_PYTHON_MODEL, version / "model.py")
    elif backend.model_file == "model.onnx" and file.is_dir():
        onnx = _find_onnx(file)
        # The folder itself: weights are looked for beside the model, and may not be links to elsewhere.
        version.symlink_to(onnx.parent)
        model_file = onnx.name
    else:
        version.mkdir()
        (version / backend.model_file).symlink_to(file)
    config = make_config(launch, backend, limits, model_file=model_file)
    (model / "config.pbtxt").write_text(to_text(config))


def _find_onnx(folder: Path) -> Path:
    found = sorted(folder.rglob("*.onnx"))
    if len(found) != 1:
        raise InvalidArgumentError(f"a folder with an ONNX model has one file called *.onnx, this has {len(found)}")
    return found[0]
