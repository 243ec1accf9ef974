"""Which cores a replica gets, and what is said where there are none."""

import pytest

from controlplane.domain import Deployment, DeploymentState, ModelFormat, Packaging, Serving
from controlplane.policy.demand import Demand, compute_demand
from controlplane.policy.filters import explain_refusal
from controlplane.policy.placement import NO_NODE
from controlplane.policy.rooms import compute_room
from tests.unit.policy.simulation import GIB, SimulatedNode, SimulatedYard, make_version


def deploy(yard: SimulatedYard, model: str, replicas: int, threads: int = 1, memory_bytes: int = 0) -> None:
    yard.set_alias(model, 1)
    yard.deploy(Deployment(model, "production", replicas, threads, memory_bytes))
    yard.control()


def test_first_fit_by_name_of_node_each_replica_on_cores_of_its_own() -> None:
    yard = SimulatedYard(SimulatedNode("b", cores=4), SimulatedNode("a", cores=3))
    deploy(yard, "resnet", replicas=3, threads=2)
    places = [(replica.node, replica.allocation.cores) for replica in yard.running()]
    assert places == [("a", (0, 1)), ("b", (0, 1)), ("b", (2, 3))]


def test_shared_cores_are_filled_evenly() -> None:
    yard = SimulatedYard(SimulatedNode("a", cores=2, replicas_per_core=2))
    deploy(yard, "resnet", replicas=4)
    assert [replica.allocation.cores for replica in yard.running()] == [(0,), (1,), (0,), (1,)]


def test_memory_is_stated_or_estimated_from_the_file() -> None:
    version = make_version("resnet", 1, size_bytes=100)
    assert compute_demand(Deployment("resnet", "production"), version).memory_bytes == (256 << 20) + 300
    assert compute_demand(Deployment("resnet", "production", memory_bytes=7), version).memory_bytes == 7


def test_memory_that_is_given_away_is_not_given_again() -> None:
    yard = SimulatedYard(SimulatedNode("a", cores=8, memory_bytes=4 * GIB))
    deploy(yard, "resnet", replicas=3, memory_bytes=2 * GIB)
    assert len(yard.running()) == 2
    yard.now = yard.now.replace(year=2027)
    assert yard.status().message == (
        "version 1: 0 of 3 replicas ready, 2 pending; 1 of 3 replicas has no place: "
        "node a: needs 2 GiB of memory, 0 B of 4 GiB is free; lower --memory, stop something or add a host"
    )


@pytest.mark.parametrize(
    ("demand", "reason"),
    [
        (Demand(2, GIB), "node a: needs 2 cores, 1 of 4 is free; lower --threads, stop something or add a host"),
        (Demand(5, GIB), "node a: needs 5 cores, it offers 4; lower --threads or add a larger host"),
        (Demand(1, 99 * GIB), "node a: needs 99 GiB of memory, it offers 16 GiB; lower --memory or add a larger host"),
        (
            Demand(9, GIB, ModelFormat.SAVEDMODEL),
            "node a: it needs OpenVINO; install this project there with its extra `agent`, and start the agent again",
        ),
        (Demand(1, GIB, ModelFormat.TENSORRT, gpu_percent=100), "node a: it needs a GPU with Triton"),
        (
            Demand(1, GIB, ModelFormat.SAVEDMODEL, gpu_percent=25),
            "node a: it needs a GPU with Triton; deploy it with --gpu-share 0 to serve it on CPUs",
        ),
        (
            Demand(1, GIB, serving=Serving("triton")),
            "node a: it needs the runtime 'triton' for onnx on the CPU; ask for another, or for --runtime any",
        ),
        (Demand(1, GIB), ""),
    ],
)
def test_a_refusal_says_what_to_do(demand: Demand, reason: str) -> None:
    yard = SimulatedYard(SimulatedNode("a", cores=4))
    deploy(yard, "resnet", replicas=3)
    room = compute_room(yard.snapshot().nodes["a"], yard.running())
    assert explain_refusal(room, demand) == reason


def test_a_node_that_is_away_gets_nothing_new() -> None:
    yard = SimulatedYard(SimulatedNode("a"), SimulatedNode("b"))
    yard.control()
    yard.nodes["a"].connected = False
    deploy(yard, "resnet", replicas=1)
    assert [replica.node for replica in yard.running()] == ["b"]


def test_without_a_node_the_status_says_how_to_start_one() -> None:
    yard = SimulatedYard()
    deploy(yard, "resnet", replicas=2)
    assert yard.status().state is DeploymentState.DEGRADED
    assert yard.status().message == f"version 1: 0 of 2 replicas ready; 2 of 2 replicas have no place: {NO_NODE}"


def test_what_leaves_still_holds_its_cores() -> None:
    yard = SimulatedYard(SimulatedNode("a", cores=1))
    deploy(yard, "resnet", replicas=1)
    yard.settle()
    yard.undeploy("resnet")
    deploy(yard, "bert", replicas=1)
    assert yard.running("bert") == []
    assert yard.status("bert").state is DeploymentState.PENDING  # for what leaves will make room
    yard.settle()
    assert len(yard.running("bert")) == 1


def test_a_replica_on_cores_that_its_node_no_longer_offers_is_replaced() -> None:
    yard = SimulatedYard(SimulatedNode("a", cores=4))
    deploy(yard, "other", replicas=2)
    deploy(yard, "resnet", replicas=1)
    assert yard.running()[0].allocation.cores == (2,)
    yard.undeploy("other")
    yard.settle()
    yard.nodes["a"].cores = 2
    yard.settle()
    assert yard.running()[0].allocation.cores == (0,)


BOTH = frozenset({ModelFormat.ONNX, ModelFormat.SAVEDMODEL})


def deploy_format(yard: SimulatedYard, format_: ModelFormat, replicas: int = 1, threads: int = 1) -> None:
    yard.register("resnet", 1, format_=format_)
    deploy(yard, "resnet", replicas, threads)


def test_a_replica_goes_where_its_format_can_be_served() -> None:
    yard = SimulatedYard(SimulatedNode("a"), SimulatedNode("b", formats=BOTH))
    deploy_format(yard, ModelFormat.SAVEDMODEL, replicas=2)
    assert [replica.node for replica in yard.running()] == ["b", "b"]


@pytest.mark.parametrize(
    ("format_", "sentence"),
    [
        (ModelFormat.TENSORRT, "no node here can serve it: it needs a GPU with Triton"),
        (
            ModelFormat.SAVEDMODEL,
            "no node here can serve it: it needs OpenVINO; install this project on a node with its extra `agent`, and "
            "start the agent there again",
        ),
    ],
)
def test_a_format_that_no_node_serves_is_told_once_whatever_the_room(format_: ModelFormat, sentence: str) -> None:
    yard = SimulatedYard(SimulatedNode("a"), SimulatedNode("b", cores=1), SimulatedNode("c"))
    deploy_format(yard, format_, threads=99)
    assert yard.running() == []
    assert yard.status().state is DeploymentState.DEGRADED
    assert yard.status().message == f"version 1: 0 of 1 replica ready; 1 of 1 replica has no place: {sentence}"


def test_a_format_that_no_node_serves_is_told_at_once_while_others_leave() -> None:
    yard = SimulatedYard(SimulatedNode("a", cores=1))
    deploy(yard, "bert", replicas=1)
    yard.settle()
    yard.undeploy("bert")
    deploy_format(yard, ModelFormat.TENSORRT)
    assert yard.status().state is DeploymentState.DEGRADED


def test_a_format_that_no_node_serves_leaves_the_version_before_it_serving() -> None:
    yard = SimulatedYard(SimulatedNode("a", cores=1))
    deploy(yard, "resnet", replicas=1)
    yard.settle()
    yard.register("resnet", 2, format_=ModelFormat.TENSORRT)
    yard.set_alias("resnet", 2)
    yard.settle()
    assert yard.route_of("resnet").version == 1
    assert yard.status().state is DeploymentState.DEGRADED
    assert "no node here can serve it: it needs a GPU with Triton; version 1 goes on serving" in yard.status().message


def test_where_only_a_node_that_is_away_could_each_says_its_own() -> None:
    yard = SimulatedYard(SimulatedNode("a"), SimulatedNode("b", formats=BOTH))
    yard.control()
    yard.nodes["b"].connected = False
    deploy_format(yard, ModelFormat.SAVEDMODEL)
    message = yard.status().message
    assert "node a: it needs OpenVINO" in message and "node b: its agent is not connected" in message


def test_a_replica_whose_node_lost_its_runtime_is_replaced() -> None:
    yard = SimulatedYard(SimulatedNode("a", formats=BOTH), SimulatedNode("b", formats=BOTH))
    deploy_format(yard, ModelFormat.SAVEDMODEL)
    yard.settle()
    yard.nodes["a"].formats = frozenset({ModelFormat.ONNX})
    yard.settle()
    assert [replica.node for replica in yard.running()] == ["b"]


NO_FOLDERS = "its agent is of an earlier release, which takes no model that is a folder; install this release there"


def deploy_folder(yard: SimulatedYard, replicas: int = 1) -> None:
    yard.register("resnet", 1, packaging=Packaging.TAR)
    deploy(yard, "resnet", replicas)


def test_a_folder_goes_where_the_agent_is_of_this_release() -> None:
    yard = SimulatedYard(SimulatedNode("a", takes_folders=False), SimulatedNode("b"))
    deploy_folder(yard, replicas=2)
    assert [replica.node for replica in yard.running()] == ["b", "b"]


def test_a_file_goes_to_an_agent_of_an_earlier_release() -> None:
    yard = SimulatedYard(SimulatedNode("a", takes_folders=False), SimulatedNode("b"))
    deploy(yard, "resnet", replicas=1)
    assert [replica.node for replica in yard.running()] == ["a"]


def test_where_only_agents_of_an_earlier_release_have_room_each_node_says_its_own() -> None:
    yard = SimulatedYard(SimulatedNode("a", takes_folders=False), SimulatedNode("b", cores=1))
    deploy_folder(yard, replicas=2)
    assert f"node a: {NO_FOLDERS} | node b: needs 1 core" in yard.status().message


def test_a_node_of_an_earlier_release_that_lacks_the_runtime_says_that_first() -> None:
    yard = SimulatedYard(SimulatedNode("a", takes_folders=False))
    room = compute_room(yard.snapshot().nodes["a"], ())
    assert "it needs OpenVINO" in explain_refusal(room, Demand(1, GIB, ModelFormat.SAVEDMODEL, is_folder=True))


def test_where_all_agents_are_of_an_earlier_release_it_is_told_at_once_while_others_leave() -> None:
    yard = SimulatedYard(SimulatedNode("a", cores=1, takes_folders=False))
    deploy(yard, "bert", replicas=1)
    yard.settle()
    yard.undeploy("bert")
    deploy_folder(yard)
    assert yard.running() == []
    assert yard.status().state is DeploymentState.DEGRADED
    assert yard.status().message.endswith(
        "no place: no node here can serve it: each agent that serves such models is of an earlier release, which takes "
        "no model that is a folder; install this release on a node"
    )


def test_a_folder_on_a_node_whose_agent_is_now_of_an_earlier_release_moves_off() -> None:
    yard = SimulatedYard(SimulatedNode("a"), SimulatedNode("b"))
    deploy_folder(yard)
    yard.settle()
    assert [replica.node for replica in yard.running()] == ["a"]
    yard.nodes["a"].takes_folders = False
    yard.settle()
    assert [replica.node for replica in yard.running()] == ["b"]
