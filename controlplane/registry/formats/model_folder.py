"""Finds the one model in a folder that an archive was unpacked into, and reads it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from controlplane.domain import FormatDetails, ModelFormat, Packaging, SavedModelDetails, Signature
from controlplane.registry.formats.file_kinds import describe_members, starts_like_onnx
from controlplane.registry.formats.mapped_file import map_file
from controlplane.registry.formats.onnx_file import is_whole_onnx, read_onnx
from controlplane.registry.formats.protobuf_wire import CutOffError, WireError
from controlplane.registry.formats.savedmodel_file import read_meta_graphs
from controlplane.registry.formats.savedmodel_signature import compute_details
from modelyard.errors import InvalidArgumentError
from modelyard.packing import PackedFile, list_files

_SAVED_MODEL = "saved_model.pb"
_ONNX = ".onnx"
_MOST_LISTED = 10


@dataclass(frozen=True)
class FolderModel:
    """`files`: those of the model, by their paths in its `folder`; `packaging`: FILE if it is only one."""

    format: ModelFormat
    packaging: Packaging
    signature: Signature
    details: FormatDetails
    folder: Path
    files: Sequence[PackedFile]


def read_folder(folder: Path) -> FolderModel:
    """InvalidArgumentError where there is not exactly one model, or one that cannot be served.

    What lies beside a model and is not its own is left out: everything outside a SavedModel's folder; of an ONNX model
    all but the file itself and those that its weights are in.
    """
    files = list_files(folder)
    saved_models = [PurePosixPath(file.path).parent for file in files if PurePosixPath(file.path).name == _SAVED_MODEL]
    onnx_models = list(_find_onnx(folder, files, saved_models))
    if len(saved_models) + len(onnx_models) != 1:
        raise _not_one([*map(str, saved_models), *onnx_models], files)
    if saved_models:
        return _read_saved_model(folder / saved_models[0])
    path = PurePosixPath(onnx_models[0])
    return _read_onnx(folder / path.parent, path.name)


def _find_onnx(folder: Path, files: Sequence[PackedFile], saved_models: Sequence[PurePosixPath]) -> Iterator[str]:
    outside = [f.path for f in files if not any(PurePosixPath(f.path).is_relative_to(root) for root in saved_models)]
    candidates = [path for path in outside if path.endswith(_ONNX) or starts_like_onnx(_read_head(folder / path))]
    # Weights may begin like a model by chance. A single candidate is read in any case: then what is wrong is told.
    yield from candidates if len(candidates) == 1 else (path for path in candidates if is_whole_onnx(folder / path))


def _read_head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(3)


def _not_one(found: Sequence[str], files: Sequence[PackedFile]) -> InvalidArgumentError:
    paths = [file.path for file in files]
    if kind := describe_members(paths):
        return InvalidArgumentError(f"the file is not a model that can be served; it looks like {kind}")
    if found:
        return InvalidArgumentError(
            f"there are {len(found)} models in it: {_listed(found)}; register each by itself, in a folder or an "
            "archive of its own"
        )
    return InvalidArgumentError(
        f"the archive has no TensorFlow SavedModel (a folder with {_SAVED_MODEL}) and no ONNX model, only "
        f"{_listed(paths) or 'nothing'}; register the model's folder, or its one file as it is"
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_LISTED
    return ", ".join(repr(name[:200]) for name in names[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def _read_saved_model(folder: Path) -> FolderModel:
    files = list_files(folder)
    details = read_saved_model_details(folder / _SAVED_MODEL, files)
    signature = details.signatures[details.served_signature]
    return FolderModel(ModelFormat.SAVEDMODEL, Packaging.TAR, signature, details, folder, files)


def read_saved_model_details(path: Path, files: Sequence[PackedFile]) -> SavedModelDetails:
    """Of a saved_model.pb among these files of its folder. InvalidArgumentError."""
    try:
        graphs = read_meta_graphs(memoryview(map_file(path)))
    except CutOffError as error:
        raise InvalidArgumentError(
            f"{_SAVED_MODEL} is cut off: {error.missing_bytes} or more bytes are missing at its end; copy it again"
        ) from error
    except WireError as error:
        raise InvalidArgumentError(
            f"{_SAVED_MODEL} is damaged ({error}); copy or export the SavedModel again"
        ) from error
    return compute_details(graphs, {file.path for file in files})


def _read_onnx(folder: Path, name: str) -> FolderModel:
    sizes = {file.path: file for file in list_files(folder)}
    signature, details = read_onnx(folder / name, {path: file.size_bytes for path, file in sizes.items()})
    data_files = details.external_data_files
    if not data_files:
        return FolderModel(ModelFormat.ONNX, Packaging.FILE, signature, details, folder, [sizes[name]])
    # So that whoever unpacks it knows which of the files is the model.
    if not name.endswith(_ONNX) or any(path.endswith(_ONNX) for path in data_files):
        raise InvalidArgumentError(
            f"the model is in {name!r} and its weights in {_listed(data_files)}; name the model's file *{_ONNX}, and "
            "none of the others (the model names them: save it again with onnx.save and location=...)"
        )
    files = sorted((sizes[path] for path in {name, *data_files}), key=lambda file: file.path.encode())
    return FolderModel(ModelFormat.ONNX, Packaging.TAR, signature, details, folder, files)
