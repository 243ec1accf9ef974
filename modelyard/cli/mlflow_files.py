"""The files of a model that MLflow logged: which of them are the model's."""

from __future__ import annotations

import importlib
import mmap
from pathlib import Path
from typing import Any

from modelyard.errors import InvalidArgumentError
from modelyard.packing import check_path


def download(mlflow: Any, model_uri: str, folder: Path) -> Path:
    """Its ONNX file, or a folder with it and the files of weights that it names, somewhere in `folder`.

    InvalidArgumentError where it has no ONNX flavour.
    """
    yaml = importlib.import_module("yaml")  # comes with MLflow
    described = mlflow.artifacts.download_artifacts(f"{model_uri}/MLmodel", dst_path=str(_make(folder / "description")))
    flavors = (yaml.safe_load(Path(described).read_text()) or {}).get("flavors", {})
    if "onnx" not in flavors:
        known = ", ".join(sorted(flavors)) or "none"
        raise InvalidArgumentError(
            f"{model_uri} has no ONNX flavour (it has: {known}): log it with mlflow.onnx.log_model, then import that"
        )
    root = Path(mlflow.artifacts.download_artifacts(model_uri, dst_path=str(_make(folder / "all"))))
    return pick_files(root / check_path(flavors["onnx"].get("data", "model.onnx")), folder / "model")


def pick_files(file: Path, destination: Path) -> Path:
    """Moves an ONNX file and its weights to the new folder `destination`, which is returned; without weights, `file`.

    Weights are files beside it whose path stands in it. MLflow's own files there are no part of the model.
    """
    names = [
        name
        for path in sorted(file.parent.rglob("*"))
        if path.is_file() and path != file and _holds(file, name := str(path.relative_to(file.parent)))
    ]
    if not names:
        return file
    for name in [file.name, *names]:
        target = destination / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (file.parent / name).replace(target)
    return destination


def _holds(file: Path, text: str) -> bool:
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(text.encode()) >= 0


def _make(folder: Path) -> Path:
    folder.mkdir()
    return folder
