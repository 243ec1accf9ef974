"""A yard without processes, sockets or waiting: database, nodes and routers are values, the clock moves when told."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from controlplane.domain import (
    Alias,
    Author,
    ClusterSnapshot,
    Core,
    Deployment,
    DeploymentKey,
    DeploymentStatus,
    DesiredReplica,
    Gpu,
    GpuCondition,
    ModelFormat,
    Node,
    NodeScheduling,
    ObservedReplica,
    Packaging,
    Replica,
    ReplicaState,
    Route,
    RouterView,
    RouteTable,
    RuntimeOffer,
    Schedulability,
    Signature,
    StoredState,
    Timeouts,
    Version,
    VersionDraft,
    Wish,
)
from controlplane.policy.decision import Decision, compute_decision
from controlplane.policy.lifecycle import compute_state_after

START = datetime(2026, 1, 1, tzinfo=UTC)
TIMEOUTS = Timeouts(timedelta(seconds=30), timedelta(seconds=30), timedelta(seconds=10))
GIB = 1 << 30


def make_version(
    model: str,
    number: int,
    size_bytes: int = 1000,
    format_: ModelFormat = ModelFormat.ONNX,
    packaging: Packaging = Packaging.FILE,
) -> Version:
    sha256 = f"{number:064x}"
    facts = VersionDraft(model, format_, "file:///x", sha256, size_bytes, Signature((), ()), packaging=packaging)
    return Version(number, facts, START)


@dataclass
class SimulatedNode:
    """Obeys at once what it is told, but says that a replica is ready only when `becomes` says so."""

    name: str
    cores: int = 4
    memory_bytes: int = 16 * GIB
    replicas_per_core: int = 1
    formats: frozenset[ModelFormat] = frozenset({ModelFormat.ONNX})
    takes_folders: bool = True
    gpu_formats: frozenset[ModelFormat] = frozenset()
    gpus: tuple[Gpu, ...] = ()
    gpu_conditions: dict[str, GpuCondition] = field(default_factory=dict)
    topology: tuple[Core, ...] = ()
    connected: bool = True
    generation: int = 0
    desired: tuple[DesiredReplica, ...] = ()
    observed: dict[str, ObservedReplica] = field(default_factory=dict)
    # What the replicas of a version come to, by (model, version); READY where nothing is said.
    becomes: dict[tuple[str, int], ObservedReplica] = field(default_factory=dict)
    last_seen: datetime = START

    def obey(self) -> None:
        wanted = {desired.replica_id: desired for desired in self.desired}
        self.observed = {name: seen for name, seen in self.observed.items() if name in wanted}
        for number, (name, desired) in enumerate(wanted.items()):
            version = desired.version
            ready = ObservedReplica(name, ReplicaState.READY, port=20000 + number)
            self.observed[name] = replace(
                self.becomes.get((version.model, version.number), self.observed.get(name, ready)), replica_id=name
            )

    def view(self, told: tuple[int, frozenset[str]]) -> Node:
        return Node(
            name=self.name,
            address="10.0.0.1",
            cores=tuple(range(self.cores)),
            memory_bytes=self.memory_bytes,
            replicas_per_core=self.replicas_per_core,
            connected=self.connected,
            last_seen=self.last_seen,
            observed=dict(self.observed),
            observed_generation=self.generation,
            desired_generation=told[0],
            desired=told[1],
            takes_folders=self.takes_folders,
            runtimes=(RuntimeOffer("built-in", "1", self.formats, self.gpu_formats),),
            gpus=self.gpus,
            gpu_conditions=dict(self.gpu_conditions),
            topology=self.topology,
        )


class SimulatedYard:
    """Passes of the controller against nodes and routers that obey, driven step by step."""

    def __init__(self, *nodes: SimulatedNode, routers: int = 1) -> None:
        self.nodes = {node.name: node for node in nodes}
        self.routers = {
            f"r{i}": RouterView(f"r{i}", "127.0.0.1:8001", 0, connected=True, last_seen=START) for i in range(routers)
        }
        self.stored = StoredState(0, {}, {}, {}, {}, 1, RouteTable())
        self.now = START + timedelta(seconds=60)
        self.started_at = START
        self.statuses: Mapping[DeploymentKey, DeploymentStatus] = {}
        self._heard: dict[str, Node] = {}
        self._told: dict[str, tuple[int, frozenset[str]]] = {}
        self._generation = 0

    # -- what people do

    def register(
        self,
        model: str,
        number: int,
        size_bytes: int = 1000,
        format_: ModelFormat = ModelFormat.ONNX,
        packaging: Packaging = Packaging.FILE,
    ) -> None:
        version = make_version(model, number, size_bytes, format_, packaging)
        self.stored = replace(self.stored, versions={**self.stored.versions, (model, number): version})

    def set_alias(self, model: str, number: int, alias: str = "production") -> None:
        if (model, number) not in self.stored.versions:
            self.register(model, number)
        moved = {**self.stored.aliases, DeploymentKey(model, alias): Alias(model, alias, number, self.now)}
        self.stored = replace(self.stored, aliases=moved)

    def deploy(self, deployment: Deployment) -> None:
        self.stored = replace(self.stored, deployments={**self.stored.deployments, deployment.key: deployment})

    def undeploy(self, model: str, alias: str = "production") -> None:
        kept = {k: d for k, d in self.stored.deployments.items() if k != DeploymentKey(model, alias)}
        self.stored = replace(self.stored, deployments=kept)

    def schedule(self, node: str, state: Schedulability) -> None:
        kept = {name: scheduling for name, scheduling in self.stored.scheduling.items() if name != node}
        if state is not Schedulability.OPEN:
            kept[node] = NodeScheduling(node, state, Author(self.now, "ada", "new disk"))
        self.stored = replace(self.stored, scheduling=kept)

    # -- what time does

    def snapshot(self) -> ClusterSnapshot:
        for node in self.nodes.values():
            if node.connected:
                node.last_seen = self.now
                self._heard[node.name] = node.view(self._told.get(node.name, (0, frozenset())))
            elif node.name in self._heard:
                self._heard[node.name] = replace(self._heard[node.name], connected=False)
        return ClusterSnapshot(self.stored, dict(self._heard), dict(self.routers), self.started_at, TIMEOUTS)

    def decide(self) -> Decision:
        return compute_decision(self.snapshot(), self.now)

    def control(self) -> Decision:
        """One pass of the controller; nodes and routers have not followed yet."""
        decision = self.decide()
        stored = compute_state_after(self.stored, decision.plan)
        replicas = dict(stored.replicas)
        for name, version in decision.retired.items():
            replicas[name] = replace(replicas[name], retired_in=version)
        self.stored = replace(stored, replicas=replicas, route_table=decision.table)
        self.statuses = decision.statuses
        for name in self.nodes:
            self._tell(self.nodes[name], decision.desired.get(name, ()))
        return decision

    def _tell(self, node: SimulatedNode, desired: tuple[DesiredReplica, ...]) -> None:
        told = frozenset(replica.replica_id for replica in desired)
        if self._told.get(node.name, (0, None))[1] != told:
            self._generation += 1
            self._told[node.name] = self._generation, told
        if node.connected:
            node.generation, node.desired = self._told[node.name][0], desired

    def obey(self) -> None:
        for node in self.nodes.values():
            if node.connected:
                node.obey()

    def route(self) -> None:
        version = self.stored.route_table.version
        self.routers = {
            name: replace(view, applied_version=version, last_seen=self.now) if view.connected else view
            for name, view in self.routers.items()
        }

    def step(self) -> Decision:
        decision = self.control()
        self.obey()
        self.route()
        self.now += timedelta(seconds=1)
        return decision

    def settle(self, most_steps: int = 60) -> None:
        """Steps until two passes in a row change nothing."""
        quiet = 0
        for _ in range(most_steps):
            before = self.stored
            decision = self.step()
            unchanged = decision.plan.is_empty() and self.stored == before
            quiet = quiet + 1 if unchanged else 0
            if quiet == 2:
                return
        raise AssertionError(f"the yard does not come to rest: {decision.plan}")

    def restart_controller(self) -> None:
        """Nobody has connected yet; what was heard and told is forgotten."""
        self._heard, self._told = {}, {}
        self.started_at = self.now

    # -- what can be seen

    def running(self, model: str = "resnet", version: int | None = None) -> list[Replica]:
        return [
            replica
            for replica in self.stored.replicas.values()
            if replica.model == model and replica.wish is Wish.RUN and version in (None, replica.version)
        ]

    def route_of(self, key: str) -> Route:
        return next(route for route in self.stored.route_table.routes if route.key == key)

    def endpoints_of(self, key: str) -> list[str]:
        pool_name = self.route_of(key).pool
        pools = [pool for pool in self.stored.route_table.pools if pool.name == pool_name]
        return [endpoint.replica_id for pool in pools for endpoint in pool.endpoints]

    def status(self, model: str = "resnet", alias: str = "production") -> DeploymentStatus:
        return self.statuses[DeploymentKey(model, alias)]
