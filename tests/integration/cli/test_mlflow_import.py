"""Models of a real MLflow tracking server, imported by a command line that has the extra `mlflow` and no more."""

import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.mlflow import ROOT, Environments, make_environments, run_script, running_mlflow
from tests.harness.programs import Program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

# Version 1 is one file, version 2 has its weights beside it, "plain" has no ONNX flavour.
_LOG_MODELS = """
import json, sys
import mlflow, numpy as np
from onnx import TensorProto, helper, numpy_helper

mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient()
runs = []

def make(rows):
    weights = np.random.default_rng(rows).normal(size=(rows, 2)).astype(np.float32)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", rows])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, [numpy_helper.from_array(weights, "w")])
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])

for rows in (3, 4000):
    with mlflow.start_run() as run:
        mlflow.log_metrics({"top1": 0.5 + rows / 10000, "broken": float("nan")})
        mlflow.log_params({"lr": 0.1})
        mlflow.set_tags({"team": "vision", "mlflow.user": "ann", "mlflow.source.git.commit": "abc123"})
        mlflow.log_input(mlflow.data.from_numpy(np.zeros(3), source="s3://data/train.npy"), "training")
        mlflow.onnx.log_model(make(rows), name="model", registered_model_name="iris", pip_requirements=[])
    runs.append(run.info.run_id)
client.update_model_version("iris", "1", description="first")
client.set_model_version_tag("iris", "1", "stage", "old")
client.set_registered_model_alias("iris", "champion", "1")
with mlflow.start_run():
    mlflow.pyfunc.log_model(
        name="model", python_model=lambda model_input: model_input, registered_model_name="plain", pip_requirements=[]
    )
made = [client.get_model_version("iris", number).creation_timestamp for number in ("1", "2")]
print(json.dumps({"runs": runs, "made": made}))
"""


@pytest.fixture(scope="module")
def environments() -> Environments:
    return make_environments()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module")
def mlflow_uri(environments: Environments, folder: Path) -> Iterator[str]:
    with running_mlflow(environments.server, folder) as uri:
        yield uri


@pytest.fixture(scope="module")
def logged(environments: Environments, mlflow_uri: str) -> Any:
    return json.loads(run_script(environments.server, _LOG_MODELS, mlflow_uri).splitlines()[-1])


@pytest.fixture(scope="module")
def controller(folder: Path) -> Iterator[str]:
    arguments = ["--listen", "127.0.0.1:0", "--data", str(folder / "controller")]
    program = Program("controlplane", arguments, folder / "controller.log")
    program.start()
    yield program.facts["address"]
    assert program.stop() == 0, program.log_tail()


@pytest.fixture
def run(environments: Environments, controller: str) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    def invoke(*arguments: str, fails: bool = False) -> "subprocess.CompletedProcess[str]":
        command = [str(environments.client), "-m", "modelyard.cli", *arguments, "--controller", controller]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, cwd=ROOT)
        assert (done.returncode != 0) is fails, done.stderr
        return done

    return invoke


def _find_logged(folder: Path, pattern: str) -> set[bytes]:
    return {path.read_bytes() for path in (folder / "artifacts").rglob(pattern)}


def test_one_file_comes_with_its_record(run: Any, logged: Any, mlflow_uri: str, folder: Path) -> None:
    version = json.loads(run("import", "--mlflow", mlflow_uri, "iris@champion", "--json").stdout)
    assert (version["model_id"], version["description"], version["user"]) == ("iris@1", "first", "ann")
    assert (version["metrics"], version["parameters"]) == ({"top1": 0.5003}, {"lr": "0.1"})
    assert version["tags"] == {"team": "vision", "stage": "old", "mlflow.aliases": "champion"}
    assert version["source"] == {
        "git_commit": "abc123", "training_run": logged["runs"][0], "dataset_uri": "s3://data/train.npy", "uri": "",
    }  # fmt: skip
    assert (version["origin"]["model_id"], version["origin"]["user"]) == ("mlflow:models:/iris/1", "ann")
    assert version["packaging"] == "FILE"
    assert version["sha256"] in {hashlib.sha256(file).hexdigest() for file in _find_logged(folder, "model.onnx")}


def test_weights_beside_the_file_come_with_it(run: Any, logged: Any, mlflow_uri: str, folder: Path) -> None:
    told = run("import", "--mlflow", mlflow_uri, "iris", "--as", "flower")
    assert told.stdout == "flower@1\n" and "broken" in told.stderr
    run("fetch", "flower@1", str(folder / "back"))
    names = {path.name for path in (folder / "back").iterdir()}
    assert len(names) == 2 and "model.onnx" in names
    for path in (folder / "back").iterdir():
        assert path.read_bytes() in _find_logged(folder, path.name)
    again = run("import", "--mlflow", mlflow_uri, "iris/2", "--as", "flower", "--exist-ok")
    assert again.stdout == "flower@1\n"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nobody", "no versions of a model 'nobody'"),
        ("iris/9", "not found"),
        ("iris@nobody", "alias nobody not found"),
        ("plain", "has no ONNX flavour (it has: python_function)"),
    ],
)
@pytest.mark.usefixtures("logged")
def test_what_cannot_be_imported_is_told(run: Any, mlflow_uri: str, source: str, said: str) -> None:
    assert said in run("import", "--mlflow", mlflow_uri, source, "--as", "never", fails=True).stderr
    assert run("versions", "never", fails=True).returncode == 1


def test_a_server_that_is_not_there_is_told(run: Any) -> None:
    refused = run("import", "--mlflow", "http://127.0.0.1:1", "iris", fails=True)
    assert "cannot be read" in refused.stderr and "Traceback" not in refused.stderr
