"""The controller's types: frozen, free of protobuf and SQL, so that decisions about them are pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
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


class MoveKind(StrEnum):
    SET = "set"
    ROLLBACK = "rollback"
    REMOVE = "remove"


@dataclass(frozen=True)
class AliasMove:
    model: str
    alias: str
    kind: MoveKind
    from_version: int | None  # None: there was no such alias
    to_version: int | None  # None: it was removed
    author: Author


class FactKind(StrEnum):
    """What the lineage store is told of."""

    REGISTERED = "registered"
    CHANGED = "changed"  # details: revision, changes
    ALIASED = "aliased"  # details: kind, from_version
    DEPLOYED = "deployed"  # the alias is deployed like this, and points to this version; details: replicas, threads
    UNDEPLOYED = "undeployed"
    DELETED = "deleted"
    RESTORED = "restored"
    PURGED = "purged"


@dataclass(frozen=True)
class Fact:
    """Something that happened to a version, written in the transaction in which it did. Facts are never changed.

    `alias`: of ALIASED, DEPLOYED and UNDEPLOYED, else "". `details`: JSON.
    """

    number: int  # of the fact, growing
    kind: FactKind
    model: str
    version: int
    author: Author
    alias: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    name: str
    latest_version: int
    aliases: tuple[Alias, ...]
    created_at: datetime


class DeploymentKey(tuple[str, str]):
    """(model, alias), the identity of a deployment."""

    __slots__ = ()

    def __new__(cls, model: str, alias: str) -> "DeploymentKey":
        return super().__new__(cls, (model, alias))

    @property
    def model(self) -> str:
        return self[0]

    @property
    def alias(self) -> str:
        return self[1]


@dataclass(frozen=True)
class Deployment:
    model: str
    alias: str
    replicas: int = 1
    threads: int = 1
    memory_bytes: int = 0  # 0: estimated from the size of the model file
    no_retries: bool = False

    @property
    def key(self) -> DeploymentKey:
        return DeploymentKey(self.model, self.alias)


@dataclass(frozen=True)
class Allocation:
    cores: tuple[int, ...]
    threads: int
    memory_bytes: int


class Wish(StrEnum):
    """What the controller wants of a replica. It only ever moves forward."""

    RUN = "run"
    RETIRE = "retire"  # out of the routes; its node keeps it until every router has followed
    STOP = "stop"  # no longer in its node's desired set


@dataclass(frozen=True)
class Replica:
    """A placement that was decided: it is kept in the database, unlike what is observed of it."""

    replica_id: str
    model: str
    version: int
    alias: str
    node: str
    allocation: Allocation
    wish: Wish = Wish.RUN
    # The replica whose cores it may share until that one is gone; "": none.
    takes_over: str = ""
    # The first route table without it; 0: none yet.
    retired_in: int = 0

    @property
    def deployment(self) -> DeploymentKey:
        return DeploymentKey(self.model, self.alias)


class ReplicaState(StrEnum):
    PENDING = "pending"
    FETCHING = "fetching"
    STARTING = "starting"
    READY = "ready"
    UNHEALTHY = "unhealthy"
    BACKOFF = "backoff"
    DRAINING = "draining"
    STOPPED = "stopped"


@dataclass(frozen=True)
class ObservedReplica:
    """What a node says of a replica."""

    replica_id: str
    state: ReplicaState
    port: int = 0
    restarts: int = 0
    message: str = ""


@dataclass(frozen=True)
class Node:
    """A host, as its agent described it last."""

    name: str
    address: str
    cores: tuple[int, ...]
    memory_bytes: int
    replicas_per_core: int = 1
    hardware_class: str = ""
    connected: bool = True
    last_seen: datetime | None = None
    observed: Mapping[str, ObservedReplica] = field(default_factory=dict)
    observed_generation: int = 0
    # The newest desired set made for it, and the replica-ids in that; 0: none since the controller started.
    desired_generation: int = 0
    desired: frozenset[str] = frozenset()
    # What its runtimes can serve.
    formats: frozenset[ModelFormat] = frozenset({ModelFormat.ONNX})
    # False: its agent is of a release that knows no Packaging.TAR.
    takes_folders: bool = True


@dataclass(frozen=True)
class RouterView:
    """A router, as it described itself last."""

    router_id: str
    address: str
    applied_version: int
    connected: bool
    last_seen: datetime
    error: str = ""


@dataclass(frozen=True)
class Endpoint:
    replica_id: str
    address: str
    port: int
    weight: int = 1


@dataclass(frozen=True)
class Pool:
    name: str
    model: str
    version: int
    endpoints: tuple[Endpoint, ...]
    no_retries: bool = False


@dataclass(frozen=True)
class Route:
    key: str
    model: str
    version: int
    pool: str
    reason: str = ""


@dataclass(frozen=True)
class RouteTable:
    version: int = 0
    pools: tuple[Pool, ...] = ()
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True)
class StoredState:
    """One consistent read of all wishes. `revision` grows with every write of them."""

    revision: int
    deployments: Mapping[DeploymentKey, Deployment]
    # Of the models that are deployed; most of a large registry's are not.
    aliases: Mapping[DeploymentKey, Alias]
    replicas: Mapping[str, Replica]
    # Those that a deployment's alias or a replica refers to.
    versions: Mapping[tuple[str, int], Version]
    # Numbers replicas: each is given away once.
    next_replica_number: int
    route_table: RouteTable


@dataclass(frozen=True)
class DesiredReplica:
    """What a node is told of a replica that should run on it."""

    replica_id: str
    version: Version
    allocation: Allocation


@dataclass(frozen=True)
class Timeouts:
    """How long silence is not yet loss."""

    node_lost_after: timedelta
    router_lost_after: timedelta
    # After the controller's own start nobody is lost, and nothing is stopped: they may not have reconnected yet.
    startup_grace: timedelta


@dataclass(frozen=True)
class ClusterSnapshot:
    """All that a decision may depend on: what was stored, and what nodes and routers said since `started_at`."""

    stored: StoredState
    nodes: Mapping[str, Node]
    routers: Mapping[str, RouterView]
    started_at: datetime
    timeouts: Timeouts


@dataclass(frozen=True)
class Plan:
    """Changes of the replicas, decided together; stored in one transaction or not at all."""

    create: tuple[Replica, ...] = ()
    update: tuple[Replica, ...] = ()
    delete: tuple[str, ...] = ()

    def is_empty(self) -> bool:
        return not (self.create or self.update or self.delete)


class DeploymentState(StrEnum):
    PENDING = "pending"
    PROGRESSING = "progressing"
    READY = "ready"
    DEGRADED = "degraded"


@dataclass(frozen=True)
class DeploymentStatus:
    state: DeploymentState
    target_version: int
    serving_version: int
    ready_replicas: int
    message: str = ""
