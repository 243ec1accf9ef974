"""A GPU that breaks under load: its replica is replaced on another one before it leaves, and nobody notices."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.v1 import deployments_pb2, resources_pb2
from tests.harness.load import Load
from tests.harness.models import write_scale_model
from tests.harness.nvml import NvmlStub, a_gpu
from tests.harness.programs import wait_for
from tests.harness.yard import Yard

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

MODEL = "resnet"


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NvmlStub:
    stub = NvmlStub(tmp_path, a_gpu(0), a_gpu(1))
    stub.use(monkeypatch)
    return stub


@pytest.fixture
def gpu_yard(stub: NvmlStub, tmp_path: Path) -> Iterator[Yard]:
    yard = Yard(tmp_path, agent_module="tests.harness.gpu_agent")
    yield yard
    yard.close()


def deploy_on_gpu(yard: Yard, percent: int) -> None:
    deployment = resources_pb2.Deployment(
        name=f"models/{MODEL}/deployments/production", replicas=1, threads=1, gpu_percent=percent
    )
    request = deployments_pb2.UpdateDeploymentRequest(deployment=deployment, allow_missing=True)
    yard.deployments.UpdateDeployment(request, timeout=30)


def gpu_of(yard: Yard) -> str:
    """Of its replica, while there is one; "" during a change."""
    replicas = yard.replicas(MODEL)
    return replicas[0].allocation.gpu.uuid if len(replicas) == 1 else ""


async def test_a_replica_leaves_a_gpu_that_breaks(gpu_yard: Yard, stub: NvmlStub, tmp_path: Path) -> None:
    gpu_yard.register(MODEL, write_scale_model(tmp_path / "scale.onnx", 2.0))
    gpu_yard.set_alias(MODEL, "production", 1)
    deploy_on_gpu(gpu_yard, 100)
    await asyncio.to_thread(gpu_yard.wait_serving, MODEL, version=1, replicas=1)
    broken = gpu_of(gpu_yard)
    sound = next(gpu.uuid for gpu in stub.gpus if gpu.uuid != broken)

    async with Load(gpu_yard.address, MODEL, workers=4).running() as load:
        await load.reach(200)
        stub.raise_xid(broken, 79)
        raised = time.monotonic()
        await asyncio.to_thread(wait_for, lambda: gpu_of(gpu_yard) == sound, "its way to the other GPU", 60)
        print(f"\nfrom the XID to one replica, on the other GPU: {time.monotonic() - raised:.2f} s")
        await asyncio.to_thread(gpu_yard.wait_serving, MODEL, version=1, replicas=1)
        await load.reach(load.result.total + 500)

    print(f"requests {load.result.total}, errors {dict(load.result.errors)}")
    assert not load.result.errors
    log = gpu_yard.agent.log.read_text()
    assert f"GPU {broken} is out of service: XID 79: it has fallen off the bus" in log


async def test_without_another_gpu_the_deployment_says_what_is_wrong(
    gpu_yard: Yard, stub: NvmlStub, tmp_path: Path
) -> None:
    gpu_yard.register(MODEL, write_scale_model(tmp_path / "scale.onnx", 2.0))
    gpu_yard.set_alias(MODEL, "production", 1)
    for gpu in stub.gpus:
        stub.raise_xid(gpu.uuid, 48)
    await asyncio.to_thread(wait_for, lambda: gpu_yard.agent.log.read_text().count("out of service") == 2, "two faults")
    deploy_on_gpu(gpu_yard, 100)
    await asyncio.to_thread(wait_for, lambda: "XID 48" in gpu_yard.status(MODEL).message, "the reason")
    assert "each of its 2 GPUs: it is out of service: XID 48: its memory has an error" in gpu_yard.status(MODEL).message
