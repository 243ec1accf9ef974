"""`modelyard register`: the hand-over of a model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from modelyard.cli import options, output, parsing
from modelyard.cli.controller import Controller
from modelyard.errors import AlreadyExistsError, InternalError, InvalidArgumentError
from modelyard.resource_names import check_model_name, model_name

_LARGEST_SAMPLE_BYTES = 16 << 20  # no controller keeps more


PathOrUri = Annotated[
    str, typer.Argument(metavar="PATH|URI", help="A file or folder here, or a URI for the controller to read.")
]
Description = Annotated[str, typer.Option(help="What a colleague should know of it.")]
User = Annotated[str | None, typer.Option(help="Whose it is.  [default: your login name]")]
Parameters = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A hyper-parameter; repeatable.")]
SampleFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.npz", exists=True, dir_okay=False, help="One array for each input, kept to try the model."
    ),
]
Gpu = Annotated[str, typer.Option(metavar="NAME", help="What a TensorRT plan was built for, such as L4.")]
GitCommit = Annotated[
    str, typer.Option(metavar="COMMIT", help="Of the training code; auto: HEAD of the repository you are in.")
]
TrainingRun = Annotated[str, typer.Option(metavar="ID", help="The run that made it.")]
Dataset = Annotated[str, typer.Option(metavar="URI", help="The data that it was trained on.")]


def register(
    *,
    name: options.ModelArgument,
    source: PathOrUri,
    description: Description = "",
    user: User = None,
    metric: options.Metrics = None,
    param: Parameters = None,
    tag: options.Tags = None,
    sample: SampleFile = None,
    gpu: Gpu = "",
    git_commit: GitCommit = "",
    training_run: TrainingRun = "",
    dataset: Dataset = "",
    exist_ok: options.ExistOk = False,
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """Register a model and print its model-id.

    An ONNX file, the folder of a TensorFlow SavedModel or of an ONNX file with its weights beside it (or a zip or tar
    of one), or a TensorRT plan. It becomes the next version of NAME, checked first: what could not be served is
    refused. A version's model never changes.

    What a cut connection or Ctrl-C left half sent is kept for a day: the same command again sends the rest.
    """
    from modelyard.v1 import registry_pb2

    check_model_name(name)
    header = registry_pb2.CreateVersionRequest.Header(
        parent=model_name(name),
        description=description,
        user=options.login_name() if user is None else user,
        metrics=parsing.parse_metrics("--metric", metric or []),
        parameters=parsing.parse_pairs("--param", param or []),
        tags=parsing.parse_pairs("--tag", tag or []),
        source=_make_source(git_commit, training_run, dataset),
        sample=read_sample(sample) if sample else b"",
        gpu=gpu,
    )
    create = _create_from_uri if "://" in source else _create_from_path
    with Controller(controller) as yard:
        version = create(yard, header, source, exist_ok)
    if as_json:
        output.print_json(output.to_plain(version))
    else:
        typer.echo(version.model_id)


def _make_source(git_commit: str, training_run: str, dataset: str) -> Any:
    from modelyard.v1 import resources_pb2

    commit = _find_commit() if git_commit == "auto" else git_commit
    return resources_pb2.Source(git_commit=commit, training_run=training_run, dataset_uri=dataset)


def read_sample(path: Path) -> bytes:
    """Raises InvalidArgumentError for a file that cannot be a sample."""
    size_bytes = path.stat().st_size
    if size_bytes > _LARGEST_SAMPLE_BYTES:
        raise InvalidArgumentError(
            f"{path} has {size_bytes} bytes: a sample is one set of inputs, {_LARGEST_SAMPLE_BYTES} bytes at most; "
            "save one with numpy.savez_compressed(FILE, input_name=array, ...)"
        )
    content = path.read_bytes()
    if not content.startswith(b"PK"):
        raise InvalidArgumentError(
            f"{path} is no .npz file: save one with numpy.savez_compressed(FILE, input_name=array, ...)"
        )
    return content


def _create_from_path(yard: Controller, header: Any, source: str, exist_ok: bool) -> Any:
    from modelyard.cli.local_model import LocalModel
    from modelyard.cli.upload import compute_sha256, create_version

    path = Path(source)
    if not path.exists():
        raise typer.BadParameter(f"{source!r} does not exist; a URI has '://' in it", param_hint="PATH|URI")
    model = LocalModel(path)
    header.size_bytes, header.sha256 = model.size_bytes, compute_sha256(model)
    return create_version(yard, header, model, exist_ok)


def _create_from_uri(yard: Controller, header: Any, uri: str, exist_ok: bool) -> Any:
    from modelyard.cli.byte_progress import show_bytes
    from modelyard.cli.upload import find_existing
    from modelyard.v1 import registry_pb2

    request = registry_pb2.CreateVersionFromUriRequest(header=header, uri=uri)
    try:
        with show_bytes(f"the controller reads {uri}") as progress:
            for message in yard.registry.CreateVersionFromUri(request, timeout_s=None):
                if message.HasField("version"):
                    return message.version
                progress.rename(f"{message.progress.step} {uri}", message.progress.total_bytes)
                progress.set(message.progress.done_bytes)
    except AlreadyExistsError as error:
        if not exist_ok:
            raise
        return find_existing(yard, header.parent, error)
    raise InternalError("the controller ended without a version: its log has the details")


def _find_commit() -> str:
    """HEAD of the repository around the working folder. Raises typer.BadParameter where there is none."""
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    if changes:
        sys.stderr.write(f"modelyard: the repository has changes that commit {commit[:12]} does not have\n")
    return commit


def _git(*arguments: str) -> str:
    hint = "--git-commit"
    try:
        done = subprocess.run(["git", *arguments], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise typer.BadParameter("there is no git here: give the commit itself", param_hint=hint) from None
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip() or "git failed"
        raise typer.BadParameter(
            f"{reason}: give the commit itself, or go to the repository", param_hint=hint
        ) from None
    return done.stdout.strip()
