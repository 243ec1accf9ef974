"""Models of an MLflow tracking store. MLflow is imported here alone, when it is asked for, and reports to nobody."""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelyard.cli import options, output
from modelyard.cli.controller import Controller
from modelyard.cli.local_model import LocalModel
from modelyard.cli.mlflow_files import download
from modelyard.cli.upload import compute_sha256, create_version
from modelyard.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, UnavailableError
from modelyard.resource_names import check_model_name, model_name

# MLflow's own entries among a run's tags.
_SYSTEM_PREFIX = "mlflow."
_LONGEST_MESSAGE = 400


def import_model(yard: Controller, uri: str, source: str, name: str | None, exist_ok: bool) -> Any:
    """The new version, made of `source`: NAME for its newest version, NAME/VERSION or NAME@ALIAS.

    Raises FailedPreconditionError where MLflow is not installed, NotFoundError, InvalidArgumentError for a model
    without an ONNX flavour, UnavailableError where the store cannot be read.
    """
    _check_exists(uri)
    mlflow = _load_mlflow()
    with _mlflow_errors(mlflow, uri), tempfile.TemporaryDirectory(prefix="modelyard-import-") as folder:
        with output.show_progress(f"reading {source} from {uri}"):
            mlflow.set_tracking_uri(uri)
            mlflow.set_registry_uri(uri)
            client = mlflow.MlflowClient()
            found = _find_version(client, source)
            header = _make_header(client, found, _choose_name(found.name, name))
            model = LocalModel(download(mlflow, f"models:/{found.name}/{found.version}", Path(folder)))
        header.size_bytes, header.sha256 = model.size_bytes, compute_sha256(model)
        return create_version(yard, header, model, exist_ok)


def _check_exists(uri: str) -> None:
    """InvalidArgumentError for a folder that is not there: MLflow would make it, with an empty store in it."""
    scheme, separator, path = uri.partition("://")
    folder = Path(path if separator else uri)
    if (scheme == "file" or not separator) and not folder.is_dir():
        raise InvalidArgumentError(
            f"there is no folder {folder}: give the tracking URI of an MLflow store, such as http://HOST:5000"
        )


def _load_mlflow() -> Any:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = os.environ["DO_NOT_TRACK"] = "true"
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    # MLflow no longer writes stores of files, and those that there are can still be read.
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    # Its own default waits for minutes where no server answers.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    try:
        return importlib.import_module("mlflow")
    except ModuleNotFoundError as error:
        if error.name != "mlflow":
            raise
        raise FailedPreconditionError(
            "MLflow is not installed here: install this project with its extra `mlflow`, or the package mlflow-skinny, "
            "in an environment for this command"
        ) from None


@contextmanager
def _mlflow_errors(mlflow: Any, uri: str) -> Iterator[None]:
    try:
        yield
    except mlflow.exceptions.MlflowException as error:
        reason = _shorten(str(error))
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise NotFoundError(f"{uri}: {reason}") from error
        if error.error_code == "INVALID_PARAMETER_VALUE":
            raise InvalidArgumentError(f"{uri}: {reason}") from error
        raise UnavailableError(f"the MLflow store {uri} cannot be read: {reason}") from error
    except ModuleNotFoundError as error:
        raise FailedPreconditionError(
            f"MLflow needs the package {error.name!r} to read {uri}: install it beside MLflow, "
            "or ask a tracking server (http://...) instead"
        ) from error


def _find_version(client: Any, source: str) -> Any:
    name, at, alias = source.partition("@")
    if at:
        return client.get_model_version_by_alias(name, alias)
    name, slash, number = source.rpartition("/")
    if slash:
        return client.get_model_version(name, number)
    quoted = source.replace("'", "\\'")
    newest = client.search_model_versions(f"name='{quoted}'", max_results=1, order_by=["version_number DESC"])
    if not newest:
        raise NotFoundError(
            f"the MLflow store has no versions of a model {source!r}: see its list of registered models"
        )
    return newest[0]


def _choose_name(found: str, wanted: str | None) -> str:
    try:
        return check_model_name(wanted or found)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{error.message}; give another with --as NAME") from None


def _make_header(client: Any, found: Any, name: str) -> Any:
    from modelyard.v1 import registry_pb2, resources_pb2

    run = client.get_run(found.run_id) if found.run_id else None
    run_tags: Mapping[str, str] = run.data.tags if run else {}
    user = run_tags.get("mlflow.user") or found.user_id or ""
    origin = resources_pb2.Origin(model_id=f"mlflow:models:/{found.name}/{found.version}", user=user)
    origin.create_time.FromDatetime(datetime.fromtimestamp(found.creation_timestamp / 1000, UTC))
    return registry_pb2.CreateVersionRequest.Header(
        parent=model_name(name),
        description=found.description or "",
        user=user or options.login_name(),
        metrics=_finite(run.data.metrics) if run else {},
        parameters=run.data.params if run else {},
        tags=_make_tags(run_tags, found),
        source=resources_pb2.Source(
            git_commit=run_tags.get("mlflow.source.git.commit", ""),
            training_run=found.run_id or "",
            dataset_uri=find_dataset_uri(run.inputs.dataset_inputs) if run and run.inputs else "",
        ),
        origin=origin,
    )


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    left_out = sorted(key for key, value in metrics.items() if not math.isfinite(value))
    if left_out:
        sys.stderr.write(f"modelyard: left out, for they are no finite numbers: {', '.join(left_out)}\n")
    return {key: value for key, value in metrics.items() if key not in left_out}


def _make_tags(run_tags: Mapping[str, str], found: Any) -> dict[str, str]:
    """The run's and the version's own, and under which aliases MLflow has it: here they are set by hand."""
    tags = {key: value for key, value in run_tags.items() if not key.startswith(_SYSTEM_PREFIX)}
    tags |= {key: value for key, value in (found.tags or {}).items() if not key.startswith(_SYSTEM_PREFIX)}
    if found.aliases:
        tags["mlflow.aliases"] = ", ".join(sorted(found.aliases))
    return tags


def find_dataset_uri(inputs: Any) -> str:
    """Where the first data set that was logged is; its name where MLflow knows no place; "" where none was logged."""
    for item in inputs:
        try:
            source = json.loads(item.dataset.source)
        except ValueError:
            source = {}
        places = (source.get(key) for key in ("uri", "url", "path")) if isinstance(source, dict) else ()
        return next((place for place in places if isinstance(place, str) and place), item.dataset.name)
    return ""


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 3] + "..."
