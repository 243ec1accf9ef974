"""A replica that grows beyond the memory it was given: noticed, named, replaced; beyond an estimate, only told of."""

import time
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
from onnx import TensorProto, helper
from tritonclient.grpc import service_pb2, service_pb2_grpc

from modelyard.v1 import deployments_pb2, resources_pb2
from tests.harness.onnx_models import tensor, write_model
from tests.harness.programs import wait_for
from tests.harness.yard import Yard, replica_pid

MIB = 1 << 20
GIVEN_BYTES = 384 * MIB
GROWN_BYTES = 640 * MIB


def write_growing_model(path: Path) -> Path:
    """total = the sum of n ones, FP32, all in memory at once, which onnxruntime keeps for its next run."""
    one = helper.make_tensor("value", TensorProto.FLOAT, [1], [1.0])
    nodes = [
        helper.make_node("ConstantOfShape", ["n"], ["ones"], value=one),
        helper.make_node("ReduceSum", ["ones"], ["total"], keepdims=0),
    ]
    return write_model(path, nodes, [tensor("n", "INT64", [1])], [tensor("total", "FP32", [])])


def deploy(yard: Yard, model: str, folder: Path, *, memory_bytes: int) -> None:
    yard.register(model, write_growing_model(folder / f"{model}.onnx"))
    yard.set_alias(model, "production", 1)
    deployment = resources_pb2.Deployment(
        name=f"models/{model}/deployments/production", replicas=1, threads=1, memory_bytes=memory_bytes
    )
    request = deployments_pb2.UpdateDeploymentRequest(deployment=deployment, allow_missing=True)
    yard.deployments.UpdateDeployment(request, timeout=30)
    yard.wait_serving(model, version=1, replicas=1)


def grow(yard: Yard, model: str, size_bytes: int) -> None:
    """Makes its one replica hold that much more."""
    request = service_pb2.ModelInferRequest(model_name=model)
    request.inputs.add(name="n", datatype="INT64", shape=[1])
    request.raw_input_contents.append(np.array([size_bytes // 4], np.int64).tobytes())
    with grpc.insecure_channel(yard.address) as channel:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=60)


def only_replica(yard: Yard, model: str) -> resources_pb2.Replica:
    (replica,) = yard.replicas(model)
    return replica


def seconds_until(condition: Callable[[], object], what: str) -> float:
    began = time.monotonic()
    wait_for(condition, what, 60)
    return time.monotonic() - began


def test_a_replica_beyond_its_stated_memory_is_named_and_replaced(yard: Yard, tmp_path: Path) -> None:
    deploy(yard, "stated", tmp_path, memory_bytes=GIVEN_BYTES)
    before = only_replica(yard, "stated")
    pid = replica_pid(yard, before)
    wait_for(lambda: only_replica(yard, "stated").memory_used_bytes, "what it holds")
    held_before = only_replica(yard, "stated").memory_used_bytes
    assert held_before < GIVEN_BYTES
    grow(yard, "stated", GROWN_BYTES)
    messages: set[str] = set()

    def is_named() -> bool:
        replica = only_replica(yard, "stated")
        messages.add(replica.message)
        if replica.restarts and replica.state == resources_pb2.REPLICA_STATE_READY:
            # It was replaced before anybody looked here: its agent has told its own log the same.
            messages.update(yard.agent.log.read_text().splitlines())
        return any("it grew to" in message for message in messages)

    noticed_s = seconds_until(is_named, "its growth in the list of replicas")
    told = next(message for message in messages if "it grew to" in message)
    replaced_s = noticed_s + seconds_until(
        lambda: only_replica(yard, "stated").restarts == 1 and yard.status("stated").ready_replicas == 1, "another"
    )
    print(f"grew from {held_before / MIB:.0f} MiB; noticed after {noticed_s:.1f} s, replaced after {replaced_s:.1f} s")
    print(told)
    assert "more than the 384 MiB it was given; deploy it with more --memory" in told
    after = only_replica(yard, "stated")
    assert replica_pid(yard, after) != pid
    yard.wait_serving("stated", version=1, replicas=1)
    grow(yard, "stated", 4)  # it answers again


def test_a_replica_beyond_an_estimate_serves_on_and_is_told_of(yard: Yard, tmp_path: Path) -> None:
    deploy(yard, "estimated", tmp_path, memory_bytes=0)
    given = only_replica(yard, "estimated").allocation.memory_bytes
    grow(yard, "estimated", GROWN_BYTES)

    def told() -> str:
        return str(only_replica(yard, "estimated").message)

    wait_for(told, "what it holds")
    assert given < GROWN_BYTES < only_replica(yard, "estimated").memory_used_bytes
    assert "estimated for it; deploy it with --memory" in told()
    replica = only_replica(yard, "estimated")
    assert (replica.state, replica.restarts) == (resources_pb2.REPLICA_STATE_READY, 0)
    grow(yard, "estimated", 4)
