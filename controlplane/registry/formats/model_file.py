"""From a file that somebody sent to what is kept of it, or to a sentence that says why not.

What it is shows in its content, never in its name.
"""

import json
import shutil
from pathlib import Path

from controlplane.domain import ModelFormat, Packaging, Signature
from controlplane.registry.formats.archives import unpack_archive
from controlplane.registry.formats.file_kinds import HEAD_BYTES, describe_file, is_archive, starts_like_onnx
from controlplane.registry.formats.inspected import Inspected
from controlplane.registry.formats.mapped_file import map_file
from controlplane.registry.formats.model_folder import FolderModel, read_folder
from controlplane.registry.formats.onnx_file import read_onnx
from controlplane.registry.formats.samples import check_sample, make_sample
from controlplane.registry.formats.savedmodel_file import is_saved_model
from controlplane.registry.formats.tensorrt_plan import is_plan, read_plan
from controlplane.registry.signature_json import details_to_json, signature_to_json
from modelyard.errors import InvalidArgumentError
from modelyard.packing import pack

UNPACKED_FOLDER = "unpacked"
PACKED_FILE = "model.tar"
SINGLE_FILE = "model"
# It is kept in every record and goes with every listing.
_MOST_TOLD_BYTES = 512 << 10
_LONGEST_NAME = 1_000


def inspect_file(path: Path, workspace: Path, *, gpu: str, sample: bytes, max_unpacked_bytes: int) -> Inspected:
    """What is kept is `path` itself or, of an archive, a file in `workspace`, a folder of the caller's.

    `gpu`: which one a TensorRT plan was built for; `sample`: an .npz file, b"" for one that is made.
    InvalidArgumentError where the model, or the sample, cannot be taken; OSError.
    """
    inspected = _read_model(path, workspace, gpu, max_unpacked_bytes)
    if gpu and inspected.format is not ModelFormat.TENSORRT:
        raise InvalidArgumentError(
            f"a GPU is named, and the file is a model of the format {inspected.format}, which is not built for one; "
            "register it without --gpu"
        )
    _refuse_long(inspected)
    if not sample:
        return _with_sample(inspected, make_sample(inspected.signature))
    check_sample(sample, inspected.signature)
    return _with_sample(inspected, sample)


def _refuse_long(inspected: Inspected) -> None:
    names = [spec.name for spec in (*inspected.signature.inputs, *inspected.signature.outputs)]
    if max(map(len, names), default=0) > _LONGEST_NAME:
        raise InvalidArgumentError(
            f"an input or output of the model has a name of more than {_LONGEST_NAME} characters; give it a shorter one"
        )
    told = json.dumps([signature_to_json(inspected.signature), details_to_json(inspected.details)])
    if len(told) > _MOST_TOLD_BYTES:
        raise InvalidArgumentError(
            f"the names and shapes of the model's inputs and outputs take more than {_MOST_TOLD_BYTES >> 10} KiB; "
            "give it fewer or shorter ones"
        )


def _with_sample(inspected: Inspected, sample: bytes | None) -> Inspected:
    return Inspected(
        inspected.format, inspected.packaging, inspected.signature, inspected.details, inspected.file, sample
    )


def _read_model(path: Path, workspace: Path, gpu: str, max_unpacked_bytes: int) -> Inspected:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise InvalidArgumentError("the file is empty; export the model again and register that file")
    if is_plan(head):
        details = read_plan(head, gpu)
        return Inspected(ModelFormat.TENSORRT, Packaging.FILE, Signature((), ()), details, path, None)
    if starts_like_onnx(head):
        _refuse_bare_saved_model(path)
    elif is_archive(head):
        return _read_archive(path, workspace, max_unpacked_bytes)
    elif kind := describe_file(head):
        raise InvalidArgumentError(f"the file is not a model that can be served; it looks like {kind}")
    model = read_onnx(path)
    return Inspected(ModelFormat.ONNX, Packaging.FILE, model.signature, model.details, path, None)


def _refuse_bare_saved_model(path: Path) -> None:
    if is_saved_model(memoryview(map_file(path))):
        raise InvalidArgumentError(
            "the file is the saved_model.pb of a TensorFlow SavedModel, which alone is not the model; register the "
            "whole folder that it lies in"
        )


def _read_archive(path: Path, workspace: Path, max_unpacked_bytes: int) -> Inspected:
    unpacked = workspace / UNPACKED_FOLDER
    unpacked.mkdir()
    unpack_archive(path, unpacked, max_unpacked_bytes)
    model = read_folder(unpacked)
    kept = _keep(model, workspace)
    shutil.rmtree(unpacked)
    return Inspected(model.format, model.packaging, model.signature, model.details, kept, None)


def _keep(model: FolderModel, workspace: Path) -> Path:
    if model.packaging is Packaging.FILE:
        return (model.folder / model.files[0].path).rename(workspace / SINGLE_FILE)
    kept = workspace / PACKED_FILE
    with kept.open("xb") as file:
        for chunk in pack(model.folder, list(model.files)):
            file.write(chunk)
    return kept
