"""What must hold whatever people, nodes and routers do."""

from collections import Counter
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from controlplane.domain import (
    Deployment,
    DeploymentKey,
    DeploymentState,
    Gpu,
    ModelFormat,
    ObservedReplica,
    ReplicaState,
    Schedulability,
)
from controlplane.policy.lifecycle import compute_plan
from tests.unit.policy.simulation import GIB, SimulatedNode, SimulatedYard

MODELS = st.sampled_from(["bert", "resnet"])
ALIASES = st.sampled_from(["production", "staging"])
VERSIONS = st.integers(1, 3)
FORMATS = st.frozensets(st.sampled_from(ModelFormat), min_size=1)
STATES = st.sampled_from([ReplicaState.STARTING, ReplicaState.BACKOFF, ReplicaState.READY])
GPU_BYTES = 40 * GIB


class YardMachine(RuleBasedStateMachine):
    """Any order of wishes, passes, obedience, failures, silence and restarts."""

    @initialize(
        hosts=st.lists(st.tuples(st.integers(1, 4), FORMATS), min_size=1, max_size=3),
        per_core=st.integers(1, 2),
        berts=st.sampled_from(ModelFormat),
    )
    def start(self, hosts: list[tuple[int, frozenset[ModelFormat]]], per_core: int, berts: ModelFormat) -> None:
        nodes = [
            SimulatedNode(
                f"n{i}",
                cores=n,
                memory_bytes=3 * GIB,
                replicas_per_core=per_core,
                formats=formats,
                gpu_formats=formats,
                gpus=(Gpu(f"GPU-{i}", "NVIDIA A100", GPU_BYTES, shares=(100, 50, 25)),) if i else (),
            )
            for i, (n, formats) in enumerate(hosts)
        ]
        self.yard = SimulatedYard(*nodes)
        self.yard.register("bert", 1, format_=berts)
        self.rolling: dict[str, int] = {}

    @rule(model=MODELS, alias=ALIASES, version=VERSIONS)
    def set_alias(self, model: str, alias: str, version: int) -> None:
        self.yard.set_alias(model, version, alias)

    @rule(
        model=MODELS,
        alias=ALIASES,
        n=st.integers(0, 4),
        threads=st.integers(1, 2),
        gib=st.sampled_from([0, 1]),
        percent=st.sampled_from([0, 0, 25, 50, 100]),
        gpu_gib=st.sampled_from([0, 0, 5, 15, 30]),
    )
    def deploy(self, *, model: str, alias: str, n: int, threads: int, gib: int, percent: int, gpu_gib: int) -> None:
        if DeploymentKey(model, alias) in self.yard.stored.aliases:
            gpu_bytes = gpu_gib * GIB if percent else 0
            self.yard.deploy(Deployment(model, alias, n, threads, gib * GIB, False, percent, gpu_bytes))

    @rule(state=st.sampled_from(Schedulability), data=st.data())
    def schedule(self, state: Schedulability, data: st.DataObject) -> None:
        self.yard.schedule(data.draw(st.sampled_from(sorted(self.yard.nodes))), state)

    @rule(model=MODELS, alias=ALIASES)
    def undeploy(self, model: str, alias: str) -> None:
        self.yard.undeploy(model, alias)

    @rule()
    def control(self) -> None:
        decision = self.yard.control()
        assert not {replica.node for replica in decision.plan.create} & self.yard.stored.scheduling.keys()
        for key, status in decision.statuses.items():
            wanted = self.yard.stored.deployments[key].replicas
            assert status.state is not DeploymentState.READY or status.ready_replicas >= wanted

    @rule()
    def obey(self) -> None:
        self.yard.obey()

    @rule()
    def route(self) -> None:
        self.yard.route()

    @rule(model=MODELS, version=VERSIONS, state=STATES)
    def a_version_comes_to(self, model: str, version: int, state: ReplicaState) -> None:
        for node in self.yard.nodes.values():
            node.becomes[(model, version)] = ObservedReplica("", state, port=21000)

    @rule(connected=st.booleans(), data=st.data())
    def connect(self, connected: bool, data: st.DataObject) -> None:
        self.yard.nodes[data.draw(st.sampled_from(sorted(self.yard.nodes)))].connected = connected

    @rule(seconds=st.sampled_from([1, 15, 40]))
    def wait(self, seconds: int) -> None:
        self.yard.now += timedelta(seconds=seconds)

    @rule()
    def restart_controller(self) -> None:
        self.yard.restart_controller()

    @invariant()
    def no_core_or_memory_is_given_away_twice(self) -> None:
        replicas = self.yard.stored.replicas
        memory: Counter[str] = Counter()
        slots: Counter[tuple[str, int]] = Counter()
        for replica in replicas.values():
            memory[replica.node] += replica.allocation.memory_bytes
            predecessor = replicas.get(replica.takes_over)
            shared = predecessor.allocation.cores if predecessor else ()
            slots.update((replica.node, core) for core in replica.allocation.cores if core not in shared)
        for name, node in self.yard.nodes.items():
            assert memory[name] <= node.memory_bytes
            assert all(slots[name, core] <= node.replicas_per_core for core in range(node.cores))
        self.check_gpus()
        successors = Counter(replica.takes_over for replica in replicas.values() if replica.takes_over in replicas)
        assert all(count == 1 for count in successors.values())

    def check_gpus(self) -> None:
        """A successor shares with whom it takes over; any other two never share more than there is.

        GPU memory that somebody stated for both is there for both, whatever takes over what.
        """
        replicas = self.yard.stored.replicas
        percents: Counter[str] = Counter()
        stated: Counter[str] = Counter()
        for replica in replicas.values():
            predecessor = replicas.get(replica.takes_over)
            before = predecessor.allocation.gpu if predecessor else None
            if share := replica.allocation.gpu:
                shared = before if before and before.uuid == share.uuid else None
                percents[share.uuid] += max(0, share.percent - (shared.percent if shared else 0))
                is_default = share.memory_bytes == GPU_BYTES * share.percent // 100
                stated[share.uuid] += 0 if is_default else share.memory_bytes
        assert all(percent <= 100 for percent in percents.values())
        assert all(size_bytes <= GPU_BYTES for size_bytes in stated.values())

    @invariant()
    def every_replica_is_where_its_format_can_be_served(self) -> None:
        stored = self.yard.stored
        for replica in stored.replicas.values():
            version = stored.versions[replica.model, replica.version]
            assert version.facts.format in self.yard.nodes[replica.node].formats

    @invariant()
    def the_same_snapshot_gives_the_same_plan(self) -> None:
        snapshot = self.yard.snapshot()
        assert compute_plan(snapshot, self.yard.now) == compute_plan(snapshot, self.yard.now)

    def teardown(self) -> None:
        """In the end everybody obeys, and the yard comes to rest as it is wished."""
        if not hasattr(self, "yard"):
            return
        for node in self.yard.nodes.values():
            node.connected = True
            node.becomes.clear()
            self.yard.schedule(node.name, Schedulability.OPEN)
        self.yard.step()
        self.yard.now += timedelta(seconds=60)
        for _ in range(2):  # what failed before comes up now
            for node in self.yard.nodes.values():
                node.observed.clear()
            self.yard.settle(most_steps=200)
        self.check_served()

    def check_served(self) -> None:
        for key, deployment in self.yard.stored.deployments.items():
            if deployment.replicas and key not in self.unplaced():
                route = self.yard.route_of(f"{key.model}@{key.alias}")
                assert route.version == self.yard.stored.aliases[key].version

    def unplaced(self) -> set[DeploymentKey]:
        return set(compute_plan(self.yard.snapshot(), self.yard.now).no_place)


class RolloutMachine(RuleBasedStateMachine):
    """Version 1 is good, the others come to whatever they come to; the alias moves at any time."""

    @initialize(cores=st.integers(2, 5), others=st.tuples(STATES, STATES))
    def start(self, cores: int, others: tuple[ReplicaState, ReplicaState]) -> None:
        node = SimulatedNode("a", cores=cores)
        node.becomes |= {
            ("resnet", version): ObservedReplica("", state, port=21000) for version, state in enumerate(others, start=2)
        }
        self.yard = SimulatedYard(node)
        self.yard.set_alias("resnet", 1)
        self.yard.deploy(Deployment("resnet", "production", replicas=2))
        self.yard.settle()

    @rule(version=VERSIONS)
    def set_alias(self, version: int) -> None:
        self.yard.set_alias("resnet", version)

    @rule(threads=st.integers(1, 2))
    def change_threads(self, threads: int) -> None:
        self.yard.deploy(Deployment("resnet", "production", replicas=2, threads=threads))

    @rule(seconds=st.sampled_from([1, 40]))
    def pass_time(self, seconds: int) -> None:
        self.yard.now += timedelta(seconds=seconds)
        self.yard.control()

    @rule()
    def obey(self) -> None:
        self.yard.obey()

    @rule()
    def route(self) -> None:
        self.yard.route()

    @rule()
    def restart_controller(self) -> None:
        self.yard.restart_controller()

    @invariant()
    def what_is_routed_runs_and_is_enough(self) -> None:
        node = self.yard.nodes["a"]
        followed = self.yard.stored.route_table
        assert len(self.yard.endpoints_of("resnet")) >= 2
        for pool in followed.pools:
            for endpoint in pool.endpoints:
                assert node.observed[endpoint.replica_id].state is ReplicaState.READY


TestYard = YardMachine.TestCase
TestYard.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestRollout = RolloutMachine.TestCase
TestRollout.settings = TestYard.settings
