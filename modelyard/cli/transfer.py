"""`modelyard fetch`, `export` and `import`: versions on their way out of a yard and into another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from modelyard.cli import options, output
from modelyard.cli.controller import Controller, get_version
from modelyard.errors import InvalidArgumentError
from modelyard.resource_names import check_model_name, model_name, parse_model_id


def fetch(
    *,
    version: options.VersionArgument,
    destination: Annotated[Path, typer.Argument(metavar="PATH", help="A new file, or folder where the model is one.")],
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """Write a version's model to a new file or folder.

    Its checksum is looked at, and it is there whole or not at all.
    """
    from modelyard.cli.download import write_model, written_whole

    named = parse_model_id(version)
    with Controller(controller) as yard:
        found = get_version(yard, *named)
        with written_whole(destination) as path:
            write_model(yard, found, path)
    _tell(found, destination, as_json)


def export(
    *,
    version: options.VersionArgument,
    destination: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder.")],
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """Write a version with its record to a new folder, for `modelyard import` into another yard.

    The folder has record.json, the model and its sample, and is there whole or not at all.
    """
    from modelyard.cli import record
    from modelyard.cli.download import check_has_file, read_small, write_model, written_whole
    from modelyard.cli.show import list_changes

    named = parse_model_id(version)
    with Controller(controller) as yard:
        found = get_version(yard, *named)
        check_has_file(found)
        changes = list_changes(yard, found.name)
        with written_whole(destination) as folder:
            folder.mkdir()
            (folder / record.RECORD).write_bytes(record.make_record(found, changes))
            if found.HasField("sample"):
                (folder / record.SAMPLE).write_bytes(read_small(yard, found.sample.sha256, "its sample"))
            write_model(yard, found, folder / record.model_file(found))
    _tell(found, destination, as_json)


def import_(
    *,
    source: Annotated[
        str, typer.Argument(metavar="FOLDER|NAME", help="An export; with --mlflow NAME, NAME/VERSION or NAME@ALIAS.")
    ],
    mlflow: Annotated[
        str | None, typer.Option(metavar="URI", help="Read a registered model of this MLflow tracking store instead.")
    ] = None,
    as_: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Under this name.  [default: the name it had]")
    ] = None,
    exist_ok: options.ExistOk = False,
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """Register what `modelyard export` wrote, or a model with an ONNX flavour of an MLflow tracking store.

    It becomes the next version of NAME with the record that it had: description, user, metrics, parameters, tags,
    source and sample, and a note of where it comes from. A model or a sample
    that was changed since is refused.
    """
    if as_:
        check_model_name(as_)
    with Controller(controller) as yard:
        if mlflow is None:
            version = _import_folder(yard, Path(source), as_, exist_ok)
        else:
            from modelyard.cli.mlflow_store import import_model

            version = import_model(yard, mlflow, source, as_, exist_ok)
    if as_json:
        output.print_json(output.to_plain(version))
    else:
        typer.echo(version.model_id)


def _import_folder(yard: Controller, folder: Path, name: str | None, exist_ok: bool) -> Any:
    from modelyard.cli.local_model import LocalModel
    from modelyard.cli.record import check_model, find_file, read_record, read_sample
    from modelyard.cli.upload import compute_sha256, create_version

    if not folder.is_dir():
        raise InvalidArgumentError(f"{folder} is no folder: give one that `modelyard export` wrote")
    record = read_record(folder)
    model = LocalModel(find_file(folder, record.files.model))
    check_model(record, model, compute_sha256(model))
    header = _make_header(record.version, name or check_model_name(record.version.model))
    header.sample = read_sample(record, folder)
    header.size_bytes = model.size_bytes
    return create_version(yard, header, model, exist_ok)


def _make_header(version: Any, name: str) -> Any:
    from modelyard.v1 import registry_pb2, resources_pb2

    origin = resources_pb2.Origin(model_id=version.model_id, user=version.user)
    origin.create_time.FromDatetime(version.create_time)
    is_plan = version.details is not None and version.details.tensorrt is not None
    return registry_pb2.CreateVersionRequest.Header(
        parent=model_name(name),
        sha256=version.sha256,
        description=version.description,
        user=version.user,
        metrics=version.metrics,
        parameters=version.parameters,
        tags=version.tags,
        source=resources_pb2.Source(**version.source.model_dump()) if version.source else None,
        gpu=version.details.tensorrt.gpu if is_plan else "",
        origin=origin,
    )


def _tell(version: Any, destination: Path, as_json: bool) -> None:
    if as_json:
        output.print_json({"model_id": version.model_id, "path": str(destination.absolute()), "sha256": version.sha256})
    else:
        typer.echo(f"{version.model_id} -> {destination}")
