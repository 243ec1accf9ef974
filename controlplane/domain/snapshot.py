"""What a decision is made of, and what comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from controlplane.domain.models import Alias, Version
from controlplane.domain.nodes import Node, NodeScheduling
from controlplane.domain.replicas import Allocation, Deployment, DeploymentKey, Replica, Serving
from controlplane.domain.routes import RouterView, RouteTable


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
    # Of the nodes that a person cordoned or drains.
    scheduling: Mapping[str, NodeScheduling] = field(default_factory=dict)


@dataclass(frozen=True)
class DesiredReplica:
    """What a node is told of a replica that should run on it."""

    replica_id: str
    version: Version
    allocation: Allocation
    serving: Serving = field(default_factory=Serving)


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
