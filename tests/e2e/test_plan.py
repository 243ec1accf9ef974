"""A TensorRT plan from `modelyard register` to the environment and files of the Triton that serves it on a GPU."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from modelyard import Client
from modelyard.v1 import resources_pb2
from tests.e2e.test_formats import PLAN, done
from tests.harness.mps import MpsStub
from tests.harness.nvml import NvmlStub, a_gpu
from tests.harness.plan_triton import install
from tests.harness.yard import Yard, replica_pid


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """A node with two A100, and a Triton that has the TensorRT backend alone."""
    folder = tmp_path_factory.mktemp("plan")
    gpus = (a_gpu(0), a_gpu(1))
    with pytest.MonkeyPatch.context() as monkeypatch:
        NvmlStub(folder, *gpus).use(monkeypatch)
        MpsStub(folder).use(monkeypatch)
        running = Yard(folder, agent_options=("--triton", str(install(folder / "triton"))))
        try:
            (folder / "net.plan").write_bytes(PLAN)
            assert done(running, "register", "net", str(folder / "net.plan"), "--gpu", gpus[0].name) == "net@1"
            done(running, "alias", "set", "net", "production", "1")
            yield running
        finally:
            running.close()


def only_replica(yard: Yard) -> resources_pb2.Replica:
    (replica,) = (each for each in yard.replicas("net") if each.state == resources_pb2.REPLICA_STATE_READY)
    return replica


def infer(yard: Yard, model: str, version: str = "") -> list[list[float]]:
    with triton.InferenceServerClient(yard.address) as client:
        tensor = triton.InferInput("x", [1, 4], "FP32")
        tensor.set_data_from_numpy(np.ones((1, 4), np.float32))
        answer: list[list[float]] = client.infer(model, [tensor], version, client_timeout=20).as_numpy("y").tolist()
        return answer


def test_a_plan_is_served_by_triton_on_its_share_of_a_gpu(yard: Yard) -> None:
    done(yard, "deploy", "net", "--gpu-share", "25", "--gpu-memory", "4GiB", "--max-batch", "8")
    yard.wait_serving("net", version=1, replicas=1)
    replica = only_replica(yard)
    assert (replica.runtime, replica.allocation.gpu.percent) == ("triton", 25)
    assert infer(yard, "net") == infer(yard, "net", "production") == infer(yard, "net@1") == [[2.0] * 4]
    with Client(yard.address) as client:  # asks the replica for the signature, which nobody has registered
        assert client.infer("net", x=[[1, 2, 3, 4]])["y"].tolist() == [[2.0, 4.0, 6.0, 8.0]]
    process = psutil.Process(replica_pid(yard, replica))
    environment = process.environ()
    assert environment["CUDA_VISIBLE_DEVICES"] == replica.allocation.gpu.uuid
    assert environment["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] == "25"
    assert environment["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == "0=4096M"
    assert Path(environment["CUDA_MPS_PIPE_DIRECTORY"]).is_dir()
    assert environment["PATH"].startswith(str(Path(sys.executable).parent))
    assert "--disable-auto-complete-config" not in process.cmdline()


def test_its_files_leave_to_the_backend_what_only_the_gpu_can_tell(yard: Yard) -> None:
    repository = yard.folder / "agent" / "replicas" / only_replica(yard).replica_id / "models"
    config = text_format.Parse((repository / "net" / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    assert (config.backend, config.platform) == ("tensorrt", "tensorrt_plan")
    assert not config.input and not config.output
    assert (config.max_batch_size, config.HasField("dynamic_batching")) == (8, True)
    (group,) = config.instance_group
    assert (group.count, group.kind, list(group.gpus)) == (1, group.KIND_GPU, [0])
    assert (repository / "net" / "1" / "model.plan").read_bytes() == PLAN


def test_the_whole_gpu_without_mps(yard: Yard) -> None:
    done(yard, "deploy", "net", "--gpu-share", "100")
    yard.wait_serving("net", version=1, replicas=1)
    environment = psutil.Process(replica_pid(yard, only_replica(yard))).environ()
    assert environment["CUDA_MPS_PIPE_DIRECTORY"] == "/dev/null"
    assert "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE" not in environment
