"""`modelyard register`: the hand-over of a model file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from modelyard.cli import options, output, parsing
from modelyard.cli.controller import Controller
from modelyard.cli.registry import list_versions
from modelyard.errors import AlreadyExistsError, InvalidArgumentError, YardError
from modelyard.resource_names import check_model_name, model_name

_CHUNK_BYTES = 1 << 20


def register(
    *,
    name: options.ModelArgument,
    path: Annotated[
        Path, typer.Argument(metavar="PATH", exists=True, dir_okay=False, readable=True, help="The model file.")
    ],
    description: Annotated[str, typer.Option(help="What a colleague should know of it.")] = "",
    user: Annotated[str | None, typer.Option(help="Whose it is.  [default: your login name]")] = None,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="KEY=NUMBER", help="Such as top1=0.76; repeatable.")
    ] = None,
    param: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A hyper-parameter; repeatable.")] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Repeatable.")] = None,
    exist_ok: Annotated[
        bool, typer.Option("--exist-ok", help="Where NAME has this very file already, print that version.")
    ] = False,
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """Register a model file and print its model-id.

    It becomes the next version of NAME, checked first: what could not be served is refused. A version never changes.
    """
    from modelyard.v1 import registry_pb2

    check_model_name(name)
    _check_file(path)
    header = registry_pb2.CreateVersionRequest.Header(
        parent=model_name(name),
        size_bytes=path.stat().st_size,
        sha256=_compute_sha256(path),
        description=description,
        user=options.login_name() if user is None else user,
        metrics=parsing.parse_metrics("--metric", metric or []),
        parameters=parsing.parse_pairs("--param", param or []),
        tags=parsing.parse_pairs("--tag", tag or []),
    )
    with Controller(controller) as yard:
        version = _create_version(yard, header, path, exist_ok)
    if as_json:
        output.print_json(output.to_plain(version))
    else:
        typer.echo(version.model_id)


def _check_file(path: Path) -> None:
    """Raises InvalidArgumentError for what can be opened and has no end, or nothing in it."""
    if not path.is_file():
        raise InvalidArgumentError(f"{path} is not a regular file: give the model's own file")
    if not path.stat().st_size:
        raise InvalidArgumentError(f"{path} is empty: was it written to its end?")


def _compute_sha256(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _create_version(yard: Controller, header: Any, path: Path, exist_ok: bool) -> Any:
    try:
        with _upload(header, path) as requests:
            return yard.registry.CreateVersion(requests, timeout_s=None).version
    except AlreadyExistsError:
        if not exist_ok:
            raise
        model = header.parent.removeprefix("models/")
        return next(version for version in list_versions(yard, model) if version.sha256 == header.sha256)


@contextmanager
def _upload(header: Any, path: Path) -> Iterator[Iterator[Any]]:
    """The stream of a registration, with a progress bar where somebody looks.

    Raises InvalidArgumentError where the file cannot be read.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn())
    broken: list[OSError] = []
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(path.name, total=header.size_bytes)
        try:
            yield _requests(header, path, lambda size_bytes: progress.advance(task, size_bytes), broken)
        except YardError:
            if broken:
                raise InvalidArgumentError(f"{path} cannot be read to its end: {broken[0].strerror}") from broken[0]
            raise


def _requests(header: Any, path: Path, advance: Callable[[int], None], broken: list[OSError]) -> Iterator[Any]:
    # gRPC reads them in a thread of its own, also for a moment after a refusal: nothing that they use is closed behind
    # its back, and nothing is raised here, for gRPC would print it.
    from modelyard.v1 import registry_pb2

    yield registry_pb2.CreateVersionRequest(header=header)
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield registry_pb2.CreateVersionRequest(chunk=chunk)
                advance(len(chunk))
    except OSError as error:
        broken.append(error)
