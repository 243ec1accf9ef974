"""A version's record in a folder of its own: what `modelyard export` writes and `modelyard import` reads.

docs/export.md describes `record.json` for other programs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from modelyard.cli import output
from modelyard.cli.show import format_name, plain_change
from modelyard.errors import DataLossError, InvalidArgumentError
from modelyard.packing import check_path

if TYPE_CHECKING:
    from modelyard.cli.local_model import LocalModel

SCHEMA = "modelyard.export/1"
RECORD, SAMPLE, FOLDER = "record.json", "sample.npz", "model"
_FILE_BY_FORMAT = {"onnx": "model.onnx", "tensorrt": "model.plan"}
_LARGEST_RECORD_BYTES = 64 << 20


class _Part(BaseModel):
    """What the importer reads of an object; the rest is for people and other programs."""

    model_config = ConfigDict(extra="ignore", strict=True)


class Source(_Part):
    git_commit: str = ""
    training_run: str = ""
    dataset_uri: str = ""


class Sample(_Part):
    sha256: str
    is_made: bool = False


class Tensorrt(_Part):
    gpu: str = ""


class Details(_Part):
    tensorrt: Tensorrt | None = None


class Version(_Part):
    model_id: str
    model: str
    sha256: str
    create_time: datetime = Field(strict=False)
    description: str = ""
    user: str = ""
    metrics: dict[str, FiniteFloat] = {}
    parameters: dict[str, str] = {}
    tags: dict[str, str] = {}
    source: Source | None = None
    sample: Sample | None = None
    details: Details | None = None


class Files(_Part):
    model: str
    sample: str | None = None


class Record(_Part):
    schema_: Literal["modelyard.export/1"] = Field(alias="schema")
    version: Version
    files: Files


def model_file(version: Any) -> str:
    """What a version's file, or the folder that it is, is called in an export."""
    from modelyard.v1 import resources_pb2

    if version.packaging == resources_pb2.PACKAGING_TAR:
        return FOLDER
    return _FILE_BY_FORMAT.get(format_name(version), "model.bin")


def make_record(version: Any, changes: Sequence[Any]) -> bytes:
    """The content of record.json."""
    record = {
        "schema": SCHEMA,
        "version": output.to_plain(version),
        "changes": [plain_change(change) for change in changes],
        "files": {"model": model_file(version), "sample": SAMPLE if version.HasField("sample") else None},
    }
    return (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()


def read_record(folder: Path) -> Record:
    """Raises InvalidArgumentError for what `modelyard export` did not write."""
    path = folder / RECORD
    try:
        if path.stat().st_size > _LARGEST_RECORD_BYTES:
            raise InvalidArgumentError(f"{path} is too large to be the record of an export")
        plain = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InvalidArgumentError(f"{folder} is no export: it has no {RECORD}; `modelyard export` makes one") from None
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"{path} is not the JSON that `modelyard export` wrote: {error}") from None
    return _parse(plain, path)


def check_model(record: Record, model: LocalModel, sha256: str) -> None:
    """DataLossError where the model is not the one that was exported."""
    if sha256 != record.version.sha256:
        raise DataLossError(
            f"{model.path} is not what was exported: its sha256 is {sha256}, the record says {record.version.sha256}; "
            f"export {record.version.model_id} again, or register the model as a new one with `modelyard register`"
        )


def find_file(folder: Path, name: str) -> Path:
    """A file or folder of the export. InvalidArgumentError for a path that leads out of it, or to nothing."""
    path = folder / check_path(name)
    if not path.exists():
        raise InvalidArgumentError(f"{path} is missing: an export is moved as a whole")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InvalidArgumentError(f"{path} leads out of the export: put the file itself there")
    return path


def read_sample(record: Record, folder: Path) -> bytes:
    """Empty where there is none, or it was made from the signature, from which the other yard makes it again."""
    sample = record.version.sample
    if sample is None or sample.is_made or not record.files.sample:
        return b""
    path = find_file(folder, record.files.sample)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sample.sha256:
        raise DataLossError(f"{path} is not what was exported: its sha256 is not that of the record; export it again")
    return content


def _parse(plain: Any, path: Path) -> Record:
    schema = plain.get("schema") if isinstance(plain, dict) else None
    if schema != SCHEMA:
        raise InvalidArgumentError(
            f"{path} has the schema {schema!r}, and this program reads {SCHEMA!r} alone: "
            "use the modelyard that wrote it, or a newer one"
        )
    try:
        return Record.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidArgumentError(f"{path}: {where}: {first['msg']}; was it changed by hand?") from None
