"""What is to be served, and what serves it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


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
class Serving:
    """How a replica serves its version."""

    runtime: str = ""  # "": the first of the node's that can
    max_batch_rows: int = 0  # 0: as many as were measured to help, 1: requests are never merged
    max_batch_wait_us: int = 0


@dataclass(frozen=True)
class Deployment:
    model: str
    alias: str
    replicas: int = 1
    threads: int = 1
    memory_bytes: int = 0  # 0: estimated from the size of the model file
    no_retries: bool = False
    gpu_percent: int = 0  # of one GPU, for each replica; 0: on the CPU
    gpu_memory_bytes: int = 0  # 0: the same share of the GPU's memory
    serving: Serving = Serving()

    @property
    def key(self) -> DeploymentKey:
        return DeploymentKey(self.model, self.alias)


@dataclass(frozen=True)
class GpuShare:
    """A part of one GPU, or of one MIG device."""

    uuid: str
    percent: int  # of its multiprocessors; 100: all of it, shared with nobody
    memory_bytes: int


@dataclass(frozen=True)
class Allocation:
    cores: tuple[int, ...]
    threads: int
    memory_bytes: int
    gpu: GpuShare | None = None
    # Nobody stated `memory_bytes`: who takes more is told of, and not ended.
    is_memory_estimated: bool = False


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
    serving: Serving = Serving()
    # When it was decided; None: by an earlier release.
    created_at: datetime | None = None

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
