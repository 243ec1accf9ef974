"""The whole way on a real GPU: an agent finds it, two replicas share it, and both answer. Needs onnxruntime-gpu."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nodeagent.runtimes.onnx_gpu import onnxruntime_folder, why_no_gpu
from nodeagent.server_process import find_marked
from tests.gpu.conftest import find_daemons

np = pytest.importorskip("numpy", reason="numpy is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")
triton = pytest.importorskip("tritonclient.grpc", reason="tritonclient is not installed")
pytestmark = pytest.mark.skipif(bool(why_no_gpu(onnxruntime_folder())), reason=why_no_gpu(onnxruntime_folder()))

GIB = 1 << 30


@pytest.fixture
def controller(uuid: str) -> Iterator[Any]:
    from tests.integration.nodeagent.stand_in import StandInController

    stand_in = StandInController()
    yield stand_in
    stand_in.stop()


@pytest.fixture
def agent(controller: Any, uuid: str, tmp_path: Path) -> Iterator[Any]:
    """Started, on the first GPU."""
    from tests.harness.programs import Program

    words = ["--controller", controller.address, "--node", "n1", "--data", str(tmp_path / "data"), "--gpus", uuid]
    agent = Program("nodeagent", words, tmp_path / "agent.log")
    agent.start()
    yield agent
    agent.stop()  # not killed: its MPS daemon would stay
    for identity in find_marked(str(tmp_path / "data")):
        psutil.Process(identity.pid).kill()


def infer(port: int) -> list[float]:
    tensor = triton.InferInput("x", [2, 4], "FP32")
    tensor.set_data_from_numpy(np.ones((2, 4), np.float32))
    with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
        return list(client.infer("scale", [tensor]).as_numpy("y").ravel())


def test_two_replicas_share_a_gpu_and_answer_and_nothing_stays_behind(
    controller: Any, agent: Any, uuid: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from modelyard.v1 import agent_pb2, resources_pb2
    from tests.harness.models import write_scale_model
    from tests.integration.nodeagent.stand_in import READY

    [gpu] = controller.hellos[0].resources.gpus
    assert (gpu.uuid, list(gpu.shares)) == (uuid, [100, 50, 25])
    version = controller.add_file(write_scale_model(tmp_path / "model.onnx", 3.0))
    shares = {"a": resources_pb2.GpuShare(uuid=uuid, percent=25, memory_bytes=4 * GIB)}
    shares["b"] = resources_pb2.GpuShare(uuid=uuid, percent=50, memory_bytes=8 * GIB)
    controller.want_all(
        *(
            agent_pb2.DesiredReplica(
                replica_id=name,
                version=version,
                allocation=resources_pb2.Allocation(cores=[number], threads=1, gpu=share),
            )
            for number, (name, share) in enumerate(shares.items())
        )
    )
    seen = {name: controller.wait_seen(name, READY, timeout_s=60) for name in shares}
    with capsys.disabled():
        print({name: str(replica.start_times).replace("\n", " ") for name, replica in seen.items()})
    for name, percent, limit in (("a", "25", "0=4096M"), ("b", "50", "0=8192M")):
        assert infer(seen[name].port) == [3.0] * 8
        environment = psutil.Process(seen[name].pid).environ()
        assert environment["CUDA_VISIBLE_DEVICES"] == uuid
        assert environment["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] == percent
        assert environment["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == limit
    assert len(find_daemons(uuid)) == 1
    assert agent.stop() == 0
    assert not find_daemons(uuid) and not find_marked(str(tmp_path / "data"))
