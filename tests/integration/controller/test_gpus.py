"""A GPU's way from the driver of its host to what people ask the controller."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from modelyard.v1 import deployments_pb2, deployments_pb2_grpc, resources_pb2
from tests.harness.nvml import NvmlStub, StubProcess, a_gpu
from tests.harness.programs import Program, wait_for

ListNodes = Callable[[], list[resources_pb2.Node]]


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NvmlStub:
    stub = NvmlStub(tmp_path, a_gpu(0), a_gpu(1))
    stub.use(monkeypatch)
    return stub


@pytest.fixture
def list_nodes(tmp_path: Path, stub: NvmlStub) -> Iterator[ListNodes]:
    """Of a yard with one agent."""
    options = ["--listen", "127.0.0.1:0", "--data", str(tmp_path / "controller")]
    controller = Program("controlplane", options, tmp_path / "controller.log")
    controller.start()
    address = controller.facts["address"]
    options = ["--controller", address, "--node", "gpus", "--data", str(tmp_path / "agent")]
    agent = Program("nodeagent", options, tmp_path / "agent.log")
    agent.start()
    with grpc.insecure_channel(address) as channel:
        cluster = deployments_pb2_grpc.ClusterServiceStub(channel)
        yield lambda: list(cluster.ListNodes(deployments_pb2.ListNodesRequest(), timeout=30).nodes)
    agent.stop()
    controller.stop()


def test_a_gpu_is_shown_as_it_is_now_and_out_of_service_when_its_driver_says_so(
    list_nodes: ListNodes, stub: NvmlStub
) -> None:
    [node] = list_nodes()
    sound, broken = stub.gpus
    assert [gpu.uuid for gpu in node.resources.gpus] == [sound.uuid, broken.uuid]
    assert (node.resources.driver_version, node.resources.gpu_message) == ("550.54.14", "")
    assert [gpu.free_percent for gpu in node.gpus] == [100, 100]

    stub.set_gpus(replace(sound, utilization_percent=81, processes=(StubProcess(12), StubProcess(13))), broken)
    stub.raise_xid(broken.uuid, 79)

    def changed() -> bool:
        first, second = (gpu.condition for gpu in list_nodes()[0].gpus)
        return first.utilization_percent == 81 and second.fault != ""

    wait_for(changed, "news of both GPUs")
    first, second = list_nodes()[0].gpus
    assert (first.condition.fault, first.condition.processes) == ("", 2)
    assert second.condition.fault.startswith("XID 79: it has fallen off the bus")
