"""The loop around the decisions, against the real SQLite store."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from controlplane.domain import Alias, Author, Deployment, DeploymentKey, Node, ObservedReplica, ReplicaState, Wish
from controlplane.reconcilers.reconciler import Reconciler, Wakeup, make_timeouts
from controlplane.registry.sql.database import Database
from controlplane.registry.sql.migrate import open_database
from controlplane.registry.sql.registry_store import SqlRegistryStore
from controlplane.registry.sql.state_store import SqlStateStore
from controlplane.sessions.nodes import DesiredSet, Hello, NodeSessions, Report
from controlplane.sessions.routers import RouterSessions
from modelyard.errors import AbortedError, UnavailableError
from tests.unit.policy.simulation import make_version

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NODE = Node("a", "10.0.0.1", cores=(0, 1, 2, 3), memory_bytes=64 << 30)


def clock() -> datetime:
    return NOW


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'yard.db'}")
    registry = SqlRegistryStore(opened)
    registry.create_version(make_version("resnet", 1).facts, NOW)
    registry.set_alias(Alias("resnet", "production", 1, NOW))
    SqlStateStore(opened).put_deployment(Deployment("resnet", "production", 2), Author(NOW))
    yield opened
    opened.close()


class Yard:
    """A reconciler with one node that says what it is told to say."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.wake = Wakeup()
        timeouts = make_timeouts(30, 30, 0)
        self.nodes = NodeSessions(clock, timeouts.node_lost_after, self.wake)
        self.routers = RouterSessions(clock, timeouts.router_lost_after, self.wake)
        self.reconciler = Reconciler(
            store=store, nodes=self.nodes, routers=self.routers, wake=self.wake, clock=clock, timeouts=timeouts
        )
        self.agent = self.nodes.register(Hello("1", NODE))

    async def obey(self) -> None:
        """All that the newest desired set names is READY."""
        desired = await self.agent.get()
        assert isinstance(desired, DesiredSet)
        observed = {
            replica.replica_id: ObservedReplica(replica.replica_id, ReplicaState.READY, port=80 + number)
            for number, replica in enumerate(desired.replicas)
        }
        self.nodes.observe("a", self.agent, Report(desired.generation, observed, {}))


@pytest.fixture
def yard(database: Database) -> Yard:
    return Yard(SqlStateStore(database))


async def test_what_routers_are_sent_was_stored_before(yard: Yard) -> None:
    router = yard.routers.register("r", "10.0.0.9:8001", 0, "")
    await yard.reconciler.run_pass()
    await yard.obey()
    await yard.reconciler.run_pass()
    table = await router.get()
    assert table is not None
    assert yard.store.load_state().route_table == table
    assert len(table.pools[0].endpoints) == 2


async def test_a_retired_replica_is_stored_with_the_table_that_left_it_out(yard: Yard) -> None:
    await yard.reconciler.run_pass()
    await yard.obey()
    await yard.reconciler.run_pass()
    yard.store.put_deployment(Deployment("resnet", "production", 1), Author(NOW))
    await yard.reconciler.run_pass()
    state = yard.store.load_state()
    retired = [replica for replica in state.replicas.values() if replica.wish is Wish.RETIRE]
    assert [replica.retired_in for replica in retired] == [state.route_table.version]


class OvertakenStore(SqlStateStore):
    """Somebody else always writes between the reading and the writing."""

    def apply_plan(self, *arguments: Any) -> int:
        raise AbortedError("overtaken")


async def test_a_pass_that_was_overtaken_tells_nobody_anything_and_comes_again(database: Database) -> None:
    yard = Yard(OvertakenStore(database))
    before = yard.wake.requested
    await yard.reconciler.run_pass()
    assert yard.wake.requested > before
    assert yard.nodes.view()["a"].desired_generation == 0
    assert yard.store.load_state().replicas == {}


class BrokenStore(SqlStateStore):
    """Fails so often before it works."""

    failures = 2

    def load_state(self) -> Any:
        self.failures -= 1
        if self.failures >= 0:
            raise UnavailableError("the database is away")
        return super().load_state()


@pytest.fixture
async def loop_over_broken_store(database: Database) -> AsyncIterator[Yard]:
    yard, stop = Yard(BrokenStore(database)), asyncio.Event()
    running = asyncio.create_task(yard.reconciler.run(stop))
    yield yard
    stop.set()
    yard.wake()
    await running


async def test_a_failing_pass_does_not_end_the_loop(loop_over_broken_store: Yard) -> None:
    decision = await loop_over_broken_store.reconciler.read(timeout_s=60)
    assert len(decision.after.stored.replicas) == 2


async def test_a_reader_is_told_where_no_pass_succeeds(yard: Yard) -> None:
    with pytest.raises(UnavailableError):
        await yard.reconciler.read(timeout_s=0)


async def test_a_read_sees_what_was_written_before_it(loop_over_broken_store: Yard) -> None:
    yard = loop_over_broken_store
    for replicas in (1, 3, 0):
        yard.store.put_deployment(Deployment("resnet", "production", replicas), Author(NOW))
        decision = await yard.reconciler.read(timeout_s=60)
        assert decision.after.stored.deployments[DeploymentKey("resnet", "production")].replicas == replicas
