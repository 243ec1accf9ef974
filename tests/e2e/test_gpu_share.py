"""From `modelyard deploy --gpu-share 25` to the environment of the process that serves, on a node with two GPUs."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton

from modelyard.v1 import resources_pb2
from tests.harness.models import write_scale_model
from tests.harness.mps import MpsStub
from tests.harness.nvml import NvmlStub, a_gpu
from tests.harness.programs import wait_for
from tests.harness.yard import Yard, replica_pid


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> MpsStub:
    return MpsStub(tmp_path_factory.mktemp("mps"))


@pytest.fixture(scope="module")
def gpu_yard(stub: MpsStub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        NvmlStub(tmp_path_factory.mktemp("nvml"), a_gpu(0), a_gpu(1)).use(monkeypatch)
        stub.use(monkeypatch)
        running = Yard(tmp_path_factory.mktemp("yard"), agent_module="tests.harness.gpu_agent")
        running.register("scale", write_scale_model(tmp_path_factory.mktemp("model") / "scale.onnx", 2.0))
        running.set_alias("scale", "production", 1)
        yield running
        running.close()
    assert not stub.events("client killed without terminate_client")
    assert not [entry for entry in stub.events("started") if psutil.pid_exists(entry["pid"])]


def deploy(yard: Yard, *options: str) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("modelyard"))
    command = [program, "deploy", "scale", "--controller", yard.controller.facts["address"], *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def ready_replicas(yard: Yard) -> list[resources_pb2.Replica]:
    ready = [replica for replica in yard.replicas("scale") if replica.state == resources_pb2.REPLICA_STATE_READY]
    return sorted(ready, key=lambda replica: replica.name)


def environment(yard: Yard, replica: resources_pb2.Replica) -> dict[str, str]:
    return psutil.Process(replica_pid(yard, replica)).environ()


def test_a_share_goes_all_the_way_and_answers_come_back(gpu_yard: Yard, stub: MpsStub) -> None:
    done = deploy(gpu_yard, "--replicas", "2", "--gpu-share", "25", "--gpu-memory", "4GiB")
    assert done.returncode == 0, done.stderr
    gpu_yard.wait_serving("scale", version=1, replicas=2)
    for replica in ready_replicas(gpu_yard):
        of = environment(gpu_yard, replica)
        assert of["CUDA_VISIBLE_DEVICES"] == replica.allocation.gpu.uuid
        assert of["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] == "25"
        assert of["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == "0=4096M"
    assert len(stub.events("started")) == 1  # the fuller GPU first, so that the other can be given away whole
    with triton.InferenceServerClient(gpu_yard.address) as client:
        tensor = triton.InferInput("x", [1, 4], "FP32")
        tensor.set_data_from_numpy(np.ones((1, 4), np.float32))
        assert client.infer("scale", [tensor], client_timeout=20).as_numpy("y").tolist() == [[2.0] * 4]


def test_another_share_is_another_process(gpu_yard: Yard) -> None:
    before = {replica.name: replica_pid(gpu_yard, replica) for replica in ready_replicas(gpu_yard)}
    assert deploy(gpu_yard, "--replicas", "1", "--gpu-share", "50").returncode == 0
    gpu_yard.wait_serving("scale", version=1, replicas=1)
    (replica,) = ready_replicas(gpu_yard)
    assert environment(gpu_yard, replica)["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] == "50"
    assert replica_pid(gpu_yard, replica) not in before.values()


def test_a_share_that_no_gpu_is_given_away_in_is_refused_with_those_that_are(gpu_yard: Yard) -> None:
    deploy(gpu_yard, "--gpu-share", "30", "--no-wait")

    def said() -> str:
        return gpu_yard.status("scale").message

    assert "shares of 100%, 50%, 25%" in wait_for(said, "the reason")
