"""`modelyard node` and `nodes` against a controller that answers as the test says."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from modelyard.cli import node_drain
from modelyard.cli.app import make_app
from modelyard.v1.deployments_pb2 import GetStatusResponse
from modelyard.v1.resources_pb2 import (
    MODEL_FORMAT_ONNX,
    MODEL_FORMAT_SAVEDMODEL,
    MODEL_FORMAT_TENSORRT,
    REPLICA_STATE_READY,
    Allocation,
    CpuCore,
    Deployment,
    DeploymentStatus,
    Gpu,
    GpuCondition,
    GpuShare,
    GpuUse,
    Node,
    NodeResources,
    NodeScheduling,
    Replica,
    RuntimeOffer,
)

Run = Callable[..., Result]
GIB = 1 << 30
ONNX, SAVEDMODEL, TENSORRT = MODEL_FORMAT_ONNX, MODEL_FORMAT_SAVEDMODEL, MODEL_FORMAT_TENSORRT


@pytest.fixture
def run(controller: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    app = make_app()
    monkeypatch.setattr(node_drain, "_POLL_S", 0.01)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env={"MODELYARD_CONTROLLER": controller.address})

    return invoke


def gpu_host() -> Node:
    shares = [100, 50, 25]
    resources = NodeResources(
        cores=range(9),
        memory_bytes=64 * GIB,
        replicas_per_core=1,
        hardware_class="Xeon",
        formats=[ONNX],
        topology=[CpuCore(number=n, socket=0, numa_node=n // 4, physical_core=n // 2) for n in range(8)],
        gpus=[
            Gpu(uuid="GPU-0", hardware_class="NVIDIA A100", memory_bytes=40 * GIB, shares=shares),
            Gpu(
                uuid="MIG-1",
                hardware_class="NVIDIA A100 MIG 3g.20gb",
                memory_bytes=20 * GIB,
                parent_uuid="GPU-1",
                shares=[100],
                whole_because="MPS is not used on MIG devices",
            ),
        ],
        driver_version="550.54",
        gpu_message="GPU-2 is not offered",
        runtimes=[
            RuntimeOffer(name="built-in", version="1.2", cpu_formats=[ONNX, SAVEDMODEL]),
            RuntimeOffer(name="triton", cpu_formats=[ONNX], gpu_formats=[ONNX, TENSORRT]),
            RuntimeOffer(name="later"),
        ],
    )
    used = GpuCondition(uuid="GPU-0", utilization_percent=37, memory_used_bytes=3 * GIB, processes=2)
    lost = GpuCondition(uuid="MIG-1", fault="XID 79: it has fallen off the bus")
    return Node(
        node="gpu-host-1",
        address="10.0.0.7",
        resources=resources,
        connected=True,
        free_core_slots=5,
        free_memory_bytes=60 * GIB,
        replicas=1,
        scheduling=NodeScheduling(state=NodeScheduling.CORDONED, user="ada", reason="loud fan"),
        gpus=[
            GpuUse(uuid="GPU-0", free_percent=75, free_memory_bytes=30 * GIB, condition=used),
            GpuUse(uuid="MIG-1", free_percent=100, free_memory_bytes=20 * GIB, condition=lost),
        ],
        agent_release="0.3.0",
    )


def replica(**fields: Any) -> Replica:
    share = GpuShare(uuid="GPU-0", percent=25, memory_bytes=10 * GIB)
    known = {
        "replica_id": "r-1",
        "model": "resnet",
        "version": 3,
        "alias": "production",
        "node": "gpu-host-1",
        "state": REPLICA_STATE_READY,
        "allocation": Allocation(cores=[0], memory_bytes=GIB, gpu=share),
        "runtime": "triton",
        "memory_used_bytes": GIB // 2,
    }
    return Replica(**{**known, **fields})


def test_nodes_are_listed_with_their_gpus_and_whether_they_take_replicas(run: Run, controller: Any) -> None:
    controller.nodes = [
        gpu_host(),
        Node(node="old", connected=True, resources=NodeResources(cores=[0], formats=[ONNX])),
    ]
    header, first, second = run("nodes").stdout.splitlines()
    assert "SCHEDULING" in header and "FREE GPUS" in header
    assert "cordoned" in first and "5 of 9" in first and "0.75 of 2 (1 out of service)" in first
    assert "onnx; GPU: onnx, tensorrt" in first
    assert "open" in second.split() and "GPU" not in second


def test_replicas_are_listed_with_what_they_have_and_use(run: Run, controller: Any) -> None:
    controller.replicas = [[replica(), replica(replica_id="r-2", allocation=Allocation(memory_bytes=GIB), runtime="")]]
    header, first, _ = run("replicas").stdout.splitlines()
    assert "25% of GPU-0, 10 GiB" in first and "512 MiB of 1 GiB" in first and "triton" in first
    assert "GPU" in header and "RUNTIME" in header
    controller.replicas = [[replica(allocation=Allocation())]]
    assert "GPU" not in run("replicas").stdout.splitlines()[0]


def test_all_of_a_node_is_shown(run: Run, controller: Any) -> None:
    controller.nodes, controller.replicas = [gpu_host()], [[replica(), replica(replica_id="r-2", node="other")]]
    text = run("node", "show", "gpu-host-1").stdout
    for told in (
        "cordoned since - by ada: loud fan",
        "5 of 9",
        "60 GiB of 64 GiB",
        "550.54",
        "GPU-2 is not offered",
        "socket 0, NUMA node 0  0-3 (4 on 2 physical cores)",
        "socket 0, NUMA node 1  4-7 (4 on 2 physical cores)",
        "elsewhere              8 (1)",
        "GPU-0  NVIDIA A100, 40 GiB; free 75% and 30 GiB; in shares of 100%, 50%, 25%; "
        "now 37% busy, 3 GiB used by 2 processes",
        "a part of GPU-1; in shares of 100% only (MPS is not used on MIG devices); "
        "OUT OF SERVICE: XID 79: it has fallen off the bus",
        "built-in 1.2  CPU: onnx, savedmodel",
        "triton        CPU: onnx; GPU: onnx, tensorrt",
        "later         nothing here",
        "r-1",
    ):
        assert told in text, told
    assert "r-2" not in text
    shown = json.loads(run("node", "show", "gpu-host-1", "--json").stdout)
    assert shown["scheduling"]["state"] == "CORDONED"
    assert [here["replica_id"] for here in shown["replicas_here"]] == ["r-1"]


def test_a_node_of_an_earlier_release_is_shown_as_far_as_it_tells(run: Run, controller: Any) -> None:
    controller.nodes = [Node(node="old", connected=True, resources=NodeResources(cores=[0, 2], replicas_per_core=1))]
    text = run("node", "show", "old").stdout
    assert "of an earlier release" in text and "anywhere  0, 2 (2)" in text and "GPU" not in text


def test_a_node_that_is_not_there_is_told_with_those_that_are_near(run: Run, controller: Any) -> None:
    assert "none has connected" in run("node", "show", "gpu-host-2").stderr
    controller.nodes = [gpu_host()]
    result = run("node", "show", "gpu-host-2")
    assert result.exit_code == 1 and "did you mean gpu-host-1?" in result.stderr
    assert "there are gpu-host-1" in run("node", "show", "xyz").stderr


@pytest.mark.parametrize(
    ("command", "state", "told"),
    [
        ("cordon", NodeScheduling.CORDONED, "a takes no new replicas: `modelyard node uncordon a` opens it again\n"),
        ("uncordon", NodeScheduling.OPEN, "a takes replicas\n"),
        (
            "drain --no-wait",
            NodeScheduling.DRAINING,
            "a is being drained: `modelyard node uncordon a` opens it again\n",
        ),
    ],
)
def test_a_node_is_cordoned_drained_and_opened(run: Run, controller: Any, command: str, state: Any, told: str) -> None:
    result = run("node", *command.split(), "a", "--reason", "new disk")
    assert (result.exit_code, result.stdout) == (0, told)
    [sent] = controller.scheduled
    assert (sent.name, sent.state, sent.reason) == ("nodes/a", state, "new disk")
    assert sent.user
    assert json.loads(run("node", *command.split(), "a", "--json").stdout)["node"] == "a"


def yard(*replicas: Replica, state: Any = NodeScheduling.DRAINING, connected: bool = True) -> GetStatusResponse:
    progress = DeploymentStatus(state=DeploymentStatus.PROGRESSING, message="version 3: 1 of 2 replicas ready")
    stuck = DeploymentStatus(state=DeploymentStatus.DEGRADED, message="node b: needs 1 core")
    return GetStatusResponse(
        nodes=[Node(node="a", connected=connected, replicas=len(replicas), scheduling=NodeScheduling(state=state))],
        deployments=[
            Deployment(model="resnet", alias="production", status=progress),
            Deployment(model="bert", alias="production", status=stuck),
            Deployment(model="elsewhere", alias="production", status=stuck),
        ],
        replicas=[*replicas, replica(replica_id="r-9", node="b")],
    )


def test_a_drain_is_waited_for_with_a_word_on_what_it_waits_for(run: Run, controller: Any) -> None:
    first, second = replica(node="a"), replica(node="a", replica_id="r-2", model="bert")
    controller.yards = [yard(first, second), yard(replica(node="a", retiring=True), connected=False), yard()]
    result = run("node", "drain", "a")
    assert (result.exit_code, result.stdout) == (
        0,
        "a has no replicas, and takes none: `modelyard node uncordon a` opens it again\n",
    )
    assert result.stderr.splitlines() == [
        "draining a",
        "a: 2 replicas left; bert@production: DEGRADED: node b: needs 1 core; "
        "resnet@production: PROGRESSING: version 3: 1 of 2 replicas ready",
        "a: 1 replica left, its agent is away, 1 on the way out",
    ]


def test_a_drain_that_takes_too_long_says_what_it_waits_for_and_goes_on(run: Run, controller: Any) -> None:
    controller.yards = [yard(replica(node="a", model="bert"))]
    result = run("node", "drain", "a", "--timeout", "0", "--json")
    assert result.exit_code == 4
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "DEADLINE_EXCEEDED"
    wanted = "a: 1 replica left; bert@production: DEGRADED: node b: needs 1 core; not empty after 0 s, "
    assert error["message"] == wanted + "and the drain goes on"


def test_who_is_as_wished_and_cannot_leave_is_told_before_who_is_on_its_way(run: Run, controller: Any) -> None:
    stuck = yard(replica(node="a"), replica(node="a", replica_id="r-2", model="bert"))
    bert = next(deployment for deployment in stuck.deployments if deployment.model == "bert")
    bert.status.state, bert.status.message = DeploymentStatus.READY, "1 of 1 new replica has no place"
    controller.yards = [stuck]
    error = json.loads(run("node", "drain", "a", "--timeout", "0", "--json").stdout)["error"]
    wanted = "bert@production: READY: 1 of 1 new replica has no place; resnet@production: PROGRESSING"
    assert wanted in error["message"]


def test_a_drain_ends_where_somebody_opens_the_node(run: Run, controller: Any) -> None:
    controller.yards = [yard(replica(node="a")), yard(replica(node="a"), state=NodeScheduling.OPEN)]
    result = run("node", "drain", "a")
    assert result.exit_code == 1 and "a was opened or cordoned meanwhile" in result.stderr


def test_a_drain_waits_for_a_controller_that_is_away_for_a_while(run: Run, controller: Any) -> None:
    controller.yards = [yard(replica(node="a")), None, None, yard()]
    result = run("node", "drain", "a")
    assert result.exit_code == 0
    assert [line for line in result.stderr.splitlines() if "it is being started anew" in line]
    controller.yards = [None]
    late = run("node", "drain", "a", "--timeout", "0")
    assert late.exit_code == 4 and "the drain goes on" in late.stderr
