"""What is taken from MLflow's answers and folders, without MLflow."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelyard.cli import mlflow_files, mlflow_store
from modelyard.errors import FailedPreconditionError


def _dataset(source: str, name: str = "train") -> Any:
    return SimpleNamespace(dataset=SimpleNamespace(source=source, name=name))


@pytest.mark.parametrize(
    ("source", "uri"),
    [
        (json.dumps({"uri": "s3://data/train.parquet"}), "s3://data/train.parquet"),
        (json.dumps({"url": "https://data.example/train.csv"}), "https://data.example/train.csv"),
        (json.dumps({"path": "owner/set"}), "owner/set"),
        (json.dumps({"tags": {"mlflow.user": "ann"}}), "train"),
        (json.dumps(["odd"]), "train"),
        ("no json", "train"),
    ],
)
def test_the_data_set_is_where_mlflow_says_it_is(source: str, uri: str) -> None:
    assert mlflow_store.find_dataset_uri([_dataset(source), _dataset("{}", "second")]) == uri


def test_no_data_set_is_none() -> None:
    assert mlflow_store.find_dataset_uri([]) == ""


def test_the_weights_that_a_model_names_go_with_it_and_nothing_else(tmp_path: Path) -> None:
    logged = tmp_path / "logged"
    (logged / "weights").mkdir(parents=True)
    (logged / "model.onnx").write_bytes(b"...location weights/0.data...location big.data")
    for name in ("weights/0.data", "big.data", "other.data", "MLmodel", "conda.yaml"):
        (logged / name).write_bytes(name.encode())
    folder = mlflow_files.pick_files(logged / "model.onnx", tmp_path / "model")
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {"model.onnx", "weights/0.data", "big.data"}
    assert (folder / "big.data").read_bytes() == b"big.data"


def test_a_model_without_weights_stays_one_file(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"all in one")
    (tmp_path / "MLmodel").touch()
    assert mlflow_files.pick_files(tmp_path / "model.onnx", tmp_path / "model") == tmp_path / "model.onnx"
    assert not (tmp_path / "model").exists()


def test_where_mlflow_is_not_installed_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(FailedPreconditionError, match="extra `mlflow`"):
        mlflow_store._load_mlflow()
