"""What agents say that they can serve, and on what."""

import pytest

from controlplane.domain import ModelFormat
from controlplane.policy.rooms import compute_room
from controlplane.servicers.agent_converters import hello_from_proto
from controlplane.servicers.cluster_converters import node_to_proto
from controlplane.servicers.device_converters import gpu_from_proto
from modelyard.errors import InvalidArgumentError
from modelyard.v1 import agent_pb2, resources_pb2


def hello(formats: list[int]) -> agent_pb2.AgentHello:
    resources = resources_pb2.NodeResources(cores=[0], memory_bytes=1, formats=formats)  # type: ignore[arg-type]
    return agent_pb2.AgentHello(node="n1", instance_id="i", address="10.0.0.1", resources=resources)


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ([1, 2], {ModelFormat.ONNX, ModelFormat.SAVEDMODEL}),
        ([3], {ModelFormat.TENSORRT}),
        ([2, 99], {ModelFormat.SAVEDMODEL}),
        ([99], set()),
        ([], {ModelFormat.ONNX}),
    ],
    ids=["both", "plans", "one of a later release", "only of a later release", "of an earlier release"],
)
def test_formats_are_those_told_and_known(told: list[int], known: set[ModelFormat]) -> None:
    assert hello_from_proto(hello(told)).node.formats == known


def test_people_are_told_what_a_node_serves() -> None:
    node = hello_from_proto(hello([2, 1])).node
    assert list(node_to_proto(compute_room(node, ()), 0).resources.formats) == [1, 2]


def test_a_gpu_is_refused_whose_name_the_database_could_not_keep() -> None:
    assert gpu_from_proto(resources_pb2.Gpu(uuid="G" * 100, memory_bytes=1, shares=[100])).uuid == "G" * 100
    with pytest.raises(InvalidArgumentError, match="wanted a UUID of up to 100 characters"):
        gpu_from_proto(resources_pb2.Gpu(uuid="G" * 101, memory_bytes=1, shares=[100]))
