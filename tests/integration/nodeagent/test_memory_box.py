"""Each replica's process is put into its box before it serves, and taken out when it has ended."""

import asyncio
import hashlib
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from modelyard.processes import ProcessIdentity
from modelyard.v1 import agent_pb2, resources_pb2
from nodeagent.cache import ArtifactCache
from nodeagent.main import make_runtimes
from nodeagent.replica_state import Limits
from nodeagent.settings import AgentSettings
from nodeagent.supervisor import Supervisor
from nodeagent.workshop import Workshop
from tests.harness.models import write_scale_model

GIVEN_BYTES = 512 << 20


@dataclass
class Box:
    """Writes down what it is told; `kills`: how many processes of each replica the kernel is said to have ended."""

    told: list[tuple[object, ...]] = field(default_factory=list)
    kills: dict[str, int] = field(default_factory=dict)

    def put(self, replica_id: str, pid: int, limit_bytes: int) -> None:
        assert ProcessIdentity.of(pid).is_alive()
        self.told.append(("put", replica_id, pid, limit_bytes))

    def oom_kills(self, replica_id: str) -> int:
        return self.kills.pop(replica_id, 0)

    def remove(self, replica_id: str) -> None:
        self.told.append(("remove", replica_id))

    def remove_all_but(self, replica_ids: Collection[str]) -> None:
        self.told.append(("remove all but", *sorted(replica_ids)))


class OneFile:
    def __init__(self, path: Path) -> None:
        self._data = path.read_bytes()
        self.sha256, self.size_bytes = hashlib.sha256(self._data).hexdigest(), len(self._data)

    async def read(self, sha256: str, offset_bytes: int) -> AsyncGenerator[bytes, None]:
        yield self._data[offset_bytes:]


class Node:
    """The supervisor of a node in this process, with one model."""

    def __init__(self, folder: Path) -> None:
        self.box = Box()
        self._model = OneFile(write_scale_model(folder / "model.onnx", 2.0))
        workshop = Workshop(
            replicas=folder / "replicas",
            cache=ArtifactCache(folder / "cache", self._model, 1 << 30),
            runtimes=make_runtimes(AgentSettings.load([])),
            limits=Limits(),
            max_message_bytes=1 << 20,
            log_limit_bytes=1 << 20,
            box=self.box,
            host="127.0.0.1",
        )
        self.supervisor = Supervisor(workshop)

    def want(self, *replica_ids: str, is_estimated: bool = False) -> None:
        version = resources_pb2.Version(
            model="scale",
            number=1,
            format=resources_pb2.MODEL_FORMAT_ONNX,
            sha256=self._model.sha256,
            size_bytes=self._model.size_bytes,
            signature=resources_pb2.Signature(
                inputs=[resources_pb2.TensorSpec(name="x", datatype="FP32", shape=[-1, 4])]
            ),
        )
        allocation = resources_pb2.Allocation(
            cores=[0], threads=1, memory_bytes=GIVEN_BYTES, is_memory_estimated=is_estimated
        )
        replicas = [
            agent_pb2.DesiredReplica(replica_id=replica_id, version=version, allocation=allocation)
            for replica_id in replica_ids
        ]
        self.supervisor.set_desired(agent_pb2.DesiredState(generation=1, replicas=replicas))

    async def wait_seen(self, is_so: Callable[[agent_pb2.ObservedReplica], bool]) -> agent_pb2.ObservedReplica:
        async with asyncio.timeout(60):
            while True:
                for replica in self.supervisor.observed().replicas:
                    if is_so(replica):
                        return replica
                await asyncio.sleep(0.02)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    node = Node(tmp_path)
    await node.supervisor.adopt()
    yield node
    await node.supervisor.stop_all()


def is_ready(replica: agent_pb2.ObservedReplica) -> bool:
    return replica.state == resources_pb2.REPLICA_STATE_READY


async def test_a_replica_is_in_its_box_while_its_process_lives(node: Node) -> None:
    assert node.box.told == [("remove all but",)]
    node.want("r1")
    pid = (await node.wait_seen(is_ready)).pid
    await node.supervisor.stop_all()
    assert node.box.told[1:] == [("put", "r1", pid, GIVEN_BYTES), ("remove", "r1")]


async def test_an_estimate_is_no_limit(node: Node) -> None:
    node.want("r1", is_estimated=True)
    pid = (await node.wait_seen(is_ready)).pid
    assert node.box.told[-1] == ("put", "r1", pid, 0)


async def test_a_kill_for_want_of_memory_is_named_as_that_and_the_next_process_is_boxed_anew(node: Node) -> None:
    node.want("r1")
    first = (await node.wait_seen(is_ready)).pid
    node.box.kills["r1"] = 1
    ProcessIdentity.of(first).send_signal(signal.SIGKILL)
    failed = await node.wait_seen(lambda replica: replica.state == resources_pb2.REPLICA_STATE_BACKOFF)
    assert "it needed more memory than it was given" in failed.message
    second = (await node.wait_seen(is_ready)).pid
    assert node.box.told[1:] == [
        ("put", "r1", first, GIVEN_BYTES),
        ("remove", "r1"),
        ("put", "r1", second, GIVEN_BYTES),
    ]


async def test_the_boxes_of_adopted_replicas_stay(node: Node, tmp_path: Path) -> None:
    node.want("r1")
    await node.wait_seen(is_ready)
    await node.supervisor.leave_all()
    successor = Node(tmp_path)
    await successor.supervisor.adopt()
    assert successor.box.told == [("remove all but", "r1")]
    await successor.supervisor.stop_all()
    assert successor.box.told[1:] == [("remove", "r1")]
