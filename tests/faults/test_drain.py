"""A node of a real yard is drained while clients ask: no request fails, and the node ends empty."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from modelyard.v1 import deployments_pb2
from modelyard.v1.resources_pb2 import REPLICA_STATE_READY, NodeScheduling
from tests.harness.load import Load
from tests.harness.models import write_scale_model
from tests.harness.programs import Program, wait_for
from tests.harness.yard import Yard

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

REPLICAS = 2


@pytest.fixture(scope="module")
def served(yard: Yard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """Two replicas on the node `local`, and a node `second` that has none."""
    yard.register("scale", write_scale_model(tmp_path_factory.mktemp("models") / "scale.onnx", 2.0))
    yard.set_alias("scale", "production", 1)
    yard.deploy("scale", replicas=REPLICAS)
    yard.wait_serving("scale", version=1, replicas=REPLICAS)
    options = ["--node", "second", "--replicas-per-core", "8", "--data", str(yard.folder / "second")]
    second = Program(
        "nodeagent", ["--controller", yard.controller.facts["address"], *options], yard.folder / "second.log"
    )
    second.start()
    yield yard
    yard.undeploy("scale")
    wait_for(lambda: not yard.replicas("scale"), "the end of all replicas")
    second.stop()


def command(yard: Yard, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "modelyard.cli", *arguments, "--controller", yard.controller.facts["address"]]


def nodes_of(yard: Yard) -> list[str]:
    return sorted(replica.node for replica in yard.replicas("scale"))


def scheduling_of(yard: Yard, node: str) -> NodeScheduling.State:
    nodes = yard.cluster.ListNodes(deployments_pb2.ListNodesRequest(), timeout=30).nodes
    state: NodeScheduling.State = next(found.scheduling.state for found in nodes if found.node == node)
    return state


async def watch_ready(yard: Yard) -> list[int]:
    """How many replicas take requests, as often as the controller answers, until this is cancelled."""
    seen: list[int] = []
    try:
        while True:
            replicas = await asyncio.to_thread(yard.replicas, "scale")
            seen.append(sum(r.state == REPLICA_STATE_READY and not r.retiring for r in replicas))
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        return seen


async def test_a_drain_under_load_fails_no_request_and_opening_the_node_changes_nothing(served: Yard) -> None:
    async with Load(served.address, "scale").running() as load:
        await load.reach(200)
        watching = asyncio.create_task(watch_ready(served))
        start = time.monotonic()
        drained = await asyncio.to_thread(
            subprocess.run,
            command(served, "node", "drain", "local", "--reason", "new disk"),
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        took_s = time.monotonic() - start
        watching.cancel()
        ready = await watching
        await load.reach(load.result.total + 200)
        assert (drained.returncode, drained.stderr.splitlines()[0]) == (0, "draining local"), drained.stderr
        assert nodes_of(served) == ["second"] * REPLICAS
        opened = await asyncio.to_thread(
            subprocess.run, command(served, "node", "uncordon", "local"), check=True, capture_output=True, text=True
        )
        await load.reach(load.result.total + 500)
    print(f"drained in {took_s:.1f} s: {load.result.total} requests, {len(load.result.errors)} kinds of errors")
    assert not load.result.errors
    assert set(load.result.answers) == {2.0}
    assert min(ready) >= REPLICAS and len(ready) > 2
    assert "local has no replicas, and takes none" in drained.stdout
    assert opened.stdout == "local takes replicas\n"
    assert nodes_of(served) == ["second"] * REPLICAS


async def test_a_drain_and_who_waits_for_it_outlive_the_controller(served: Yard) -> None:
    [node] = set(nodes_of(served))
    async with Load(served.address, "scale").running() as load:
        await load.reach(200)
        drain = await asyncio.to_thread(
            subprocess.Popen,
            command(served, "node", "drain", node),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        await asyncio.to_thread(
            wait_for, lambda: scheduling_of(served, node) == NodeScheduling.DRAINING, f"the drain of {node}"
        )
        await asyncio.to_thread(served.controller.kill)
        await asyncio.to_thread(served.controller.start)
        told, progress = await asyncio.to_thread(drain.communicate, timeout=120)
        await load.reach(load.result.total + 200)
    print(progress)
    assert not load.result.errors
    assert (drain.returncode, f"{node} has no replicas" in told) == (0, True), progress
    assert scheduling_of(served, node) == NodeScheduling.DRAINING
    assert len(nodes_of(served)) == REPLICAS and node not in nodes_of(served)
