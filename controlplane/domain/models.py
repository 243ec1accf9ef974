"""What is kept of models, versions and aliases."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from modelyard import resource_names


class ModelFormat(StrEnum):
    ONNX = "onnx"
    SAVEDMODEL = "savedmodel"  # TensorFlow's
    TENSORRT = "tensorrt"  # a plan


class Packaging(StrEnum):
    """How the stored bytes are to be read."""

    FILE = "file"  # the model's one file
    TAR = "tar"  # a tar of its folder, made by modelyard.packing


@dataclass(frozen=True)
class TensorSpec:
    name: str
    datatype: str  # KServe v2
    shape: tuple[int, ...]  # -1: varies


@dataclass(frozen=True)
class Signature:
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class OnnxDetails:
    ir_version: int
    opsets: Mapping[str, int]  # by domain; "" is ONNX's own
    producer: str = ""
    producer_version: str = ""
    external_data_files: tuple[str, ...] = ()


@dataclass(frozen=True)
class SavedModelDetails:
    """`Version.signature` is the one of `signatures` under the key `served_signature`."""

    tensorflow_version: str
    tags: tuple[str, ...]
    signatures: Mapping[str, Signature]
    served_signature: str


@dataclass(frozen=True)
class TensorrtDetails:
    tensorrt_version: str = ""  # "": its header does not tell
    gpu: str = ""  # as its owner named it


FormatDetails = OnnxDetails | SavedModelDetails | TensorrtDetails


@dataclass(frozen=True)
class Source:
    """Where a version came from, as its owner says."""

    git_commit: str = ""
    training_run: str = ""
    dataset_uri: str = ""
    uri: str = ""  # where the controller read the model, without a password; "": it was sent


@dataclass(frozen=True)
class Sample:
    """One set of inputs, an .npz file with an array for each input, kept by its content."""

    sha256: str
    size_bytes: int
    is_made: bool  # nobody gave one: it was made from the signature


@dataclass(frozen=True)
class Origin:
    """What a version was in the yard or the registry that it was imported from."""

    model_id: str
    user: str = ""
    created_at: datetime | None = None


@dataclass(frozen=True)
class VersionDraft:
    """A version before it has a number: what was uploaded and what its owner says of it.

    `description`, `metrics` and `tags` can be changed later, by a `VersionChange`; nothing else can.
    """

    model: str
    format: ModelFormat
    uri: str
    sha256: str
    size_bytes: int
    signature: Signature
    description: str = ""
    user: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    packaging: Packaging = Packaging.FILE
    details: FormatDetails | None = None  # None: registered before they were kept
    source: Source = Source()
    sample: Sample | None = None  # None: registered before they were kept, or its signature is not known
    origin: Origin | None = None


@dataclass(frozen=True)
class Version:
    number: int
    facts: VersionDraft
    created_at: datetime
    revision: int = 0  # how often it was changed
    deleted_at: datetime | None = None  # set while it is out of sight
    purged_at: datetime | None = None  # set once its files are gone

    @property
    def model(self) -> str:
        return self.facts.model

    @property
    def model_id(self) -> str:
        return resource_names.model_id(self.facts.model, self.number)


@dataclass(frozen=True)
class VersionEdit:
    """A change that somebody wants of a version. What is not named stays."""

    description: str | None = None
    set_tags: Mapping[str, str] = field(default_factory=dict)
    remove_tags: tuple[str, ...] = ()
    add_metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class VersionChange:
    """A change that was made. `changes`: JSON, {"tags": {"from": {...}, "to": {...}}}, only what changed."""

    revision: int
    author: "Author"
    changes: Mapping[str, Any]


@dataclass(frozen=True)
class Author:
    """Who did something, when and why."""

    at: datetime
    user: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Alias:
    model: str
    name: str
    version: int
    moved_at: datetime
    user: str = ""
    reason: str = ""
