"""A deployment's change, and callers who are cut off in the middle of it, against the real SQLite store."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from controlplane.domain import Alias, Author, Deployment, DeploymentKey
from controlplane.reconcilers.reconciler import Reconciler, Wakeup, make_timeouts
from controlplane.registry.sql.database import Database
from controlplane.registry.sql.migrate import open_database
from controlplane.registry.sql.registry_store import SqlRegistryStore
from controlplane.registry.sql.state_store import SqlStateStore
from controlplane.servicers.deployments import DeploymentServicer
from controlplane.sessions.nodes import NodeSessions
from controlplane.sessions.routers import RouterSessions
from modelyard.errors import NotFoundError
from modelyard.v1 import deployments_pb2 as pb
from modelyard.v1 import resources_pb2
from tests.unit.policy.simulation import make_version

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = DeploymentKey("resnet", "production")
NAME = "models/resnet/deployments/production"
TURNS = 20


def clock() -> datetime:
    return NOW


class WaitingStore(SqlStateStore):
    """The first change waits, as for a database that another one writes to, until `go_on` is set."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.is_waiting, self.go_on = threading.Event(), threading.Event()

    def put_deployment(self, deployment: Deployment, author: Author) -> None:
        self._wait()
        super().put_deployment(deployment, author)

    def delete_deployment(self, key: DeploymentKey, author: Author) -> None:
        self._wait()
        super().delete_deployment(key, author)

    def _wait(self) -> None:
        if not self.is_waiting.is_set():
            self.is_waiting.set()
            assert self.go_on.wait(20)


@dataclass
class Yard:
    store: WaitingStore
    servicer: DeploymentServicer
    changes: list[str]

    async def update(self, *mask: str, **fields: Any) -> None:
        request = pb.UpdateDeploymentRequest(deployment=resources_pb2.Deployment(name=NAME, **fields))
        request.update_mask.paths.extend(mask)
        await self.servicer.UpdateDeployment(request, None)

    async def delete(self) -> None:
        await self.servicer.DeleteDeployment(pb.DeleteDeploymentRequest(name=NAME), None)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'yard.db'}")
    registry = SqlRegistryStore(opened)
    registry.create_version(make_version("resnet", 1).facts, NOW)
    registry.set_alias(Alias("resnet", "production", 1, NOW))
    SqlStateStore(opened).put_deployment(Deployment("resnet", "production", 1, 1), Author(NOW))
    yield opened
    opened.close()


@pytest.fixture
async def yard(database: Database) -> AsyncIterator[Yard]:
    store, wake, timeouts, stop = WaitingStore(database), Wakeup(), make_timeouts(30, 30, 0), asyncio.Event()
    nodes = NodeSessions(clock, timeouts.node_lost_after, wake)
    routers = RouterSessions(clock, timeouts.router_lost_after, wake)
    reconciler = Reconciler(store=store, nodes=nodes, routers=routers, wake=wake, clock=clock, timeouts=timeouts)
    running = asyncio.create_task(reconciler.run(stop))
    changes: list[str] = []
    yield Yard(store, DeploymentServicer(store, reconciler, clock, lambda: changes.append("told")), changes)
    store.go_on.set()
    stop.set()
    wake()
    await running


async def let_run() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def cut_off(yard: Yard, call: "asyncio.Task[None]", times: int = 1) -> None:
    """Once the database has it wait."""
    assert await asyncio.to_thread(yard.store.is_waiting.wait, 20)
    for _ in range(times):
        call.cancel()
        await let_run()


# A call that was cut off is cancelled once more where the controller ends meanwhile.
@pytest.mark.parametrize("times", [1, 2])
async def test_a_change_whose_caller_is_cut_off_and_the_next_one_undo_nothing_of_each_other(
    yard: Yard, times: int
) -> None:
    first = asyncio.create_task(yard.update("replicas", replicas=3))
    await cut_off(yard, first, times)
    second = asyncio.create_task(yard.update("threads", threads=2))
    await let_run()
    assert not first.done() and not second.done()  # or the second one has read what the first one has yet to change
    yard.store.go_on.set()
    await second
    with pytest.raises(asyncio.CancelledError):
        await first
    assert yard.store.get_deployment(KEY) == Deployment("resnet", "production", 3, 2)
    assert yard.changes == ["told", "told"]


async def test_a_deletion_whose_caller_is_cut_off_ends_before_the_next_change_begins(yard: Yard) -> None:
    deletion = asyncio.create_task(yard.delete())
    await cut_off(yard, deletion)
    change = asyncio.create_task(yard.update("threads", threads=2))
    yard.store.go_on.set()
    with pytest.raises(NotFoundError):
        await change
    with pytest.raises(asyncio.CancelledError):
        await deletion
    with pytest.raises(NotFoundError):
        yard.store.get_deployment(KEY)
    assert yard.changes == ["told"]
