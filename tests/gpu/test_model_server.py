"""The built-in model server on a real GPU: needs onnxruntime-gpu, and what tests/integration/modelserver needs."""

import asyncio
from pathlib import Path
from typing import Any

import psutil
import pytest

from nodeagent.devices.gpu_environment import exclusive_environment, share_environment
from nodeagent.devices.mps_access import MpsAccess
from nodeagent.devices.mps_daemon import MpsDaemon, MpsTimes
from nodeagent.devices.mps_state import MpsLimits
from nodeagent.modelserver import exit_codes
from nodeagent.replica_spec import GpuShare
from nodeagent.runtimes.onnx_gpu import onnxruntime_folder, why_no_gpu
from tests.harness.programs import Program, wait_for

np = pytest.importorskip("numpy", reason="numpy is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")
triton = pytest.importorskip("tritonclient.grpc", reason="tritonclient is not installed")
pytestmark = pytest.mark.skipif(bool(why_no_gpu(onnxruntime_folder())), reason=why_no_gpu(onnxruntime_folder()))

_WIDTH, _WIDE = 256, 32768


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """`y`, the sums of the rows of `x` [batch, 256] times a wide matrix: a row takes 128 KiB in between."""
    from tests.harness.onnx_models import tensor, write_model

    weights = np.random.default_rng(5).uniform(-1, 1, (_WIDTH, _WIDE)).astype(np.float32)
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["wide"]),
        onnx.helper.make_node("Relu", ["wide"], ["positive"]),
        onnx.helper.make_node("ReduceMean", ["positive", "axes"], ["y"], keepdims=1),
    ]
    ends = [tensor("x", "FP32", ["batch", _WIDTH])], [tensor("y", "FP32", ["batch", 1])]
    constants = [onnx.numpy_helper.from_array(weights, "w"), onnx.numpy_helper.from_array(np.array([1]), "axes")]
    return write_model(tmp_path / "m.onnx", nodes, *ends, initializers=constants)


class Server:
    """A model server of this model, on the device that the flags and the environment say."""

    def __init__(self, model: Path, name: str, *flags: str) -> None:
        words = ["--model", "m", "--version", "1", "--file", str(model), "--max-batch-rows", "1", *flags]
        self.program = Program("nodeagent.modelserver", words, model.with_name(f"{name}.log"))
        self.program.start()
        self._client = triton.InferenceServerClient(self.program.facts["address"])

    def infer(self, rows: int) -> Any:
        array = np.random.default_rng(rows).uniform(-1, 1, (rows, _WIDTH)).astype(np.float32)
        tensor = triton.InferInput("x", list(array.shape), "FP32")
        tensor.set_data_from_numpy(array)
        return self._client.infer("m", [tensor]).as_numpy("y")

    def close(self) -> None:
        self._client.close()
        self.program.kill()


def use(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_it_answers_as_on_the_cpu(uuid: str, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, exclusive_environment(uuid))
    on_cpu, on_gpu = Server(model, "cpu"), Server(model, "gpu", "--device", "cuda")
    try:
        # onnxruntime multiplies in TF32 there, with 10 bits of mantissa.
        np.testing.assert_allclose(on_gpu.infer(7), on_cpu.infer(7), rtol=2e-3)
    finally:
        on_cpu.close()
        on_gpu.close()


def test_a_request_beyond_the_memory_of_its_share_fails_alone(
    uuid: str, model: Path, mps: MpsDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = GpuShare(uuid, 25, 2 << 30)
    use(monkeypatch, share_environment(share, mps.folders))
    server = Server(model, "gpu", "--device", "cuda", "--gpu-memory-bytes", str(share.memory_bytes))
    try:
        assert server.infer(3).shape == (3, 1)
        with pytest.raises(triton.InferenceServerException, match="not enough") as error:
            server.infer(40_000)  # 5 GiB in between
        assert error.value.status() == "StatusCode.RESOURCE_EXHAUSTED"
        assert server.infer(3).shape == (3, 1)
    finally:
        server.close()


def test_a_server_that_loses_its_gpu_says_so_and_ends(
    uuid: str, model: Path, daemon: MpsDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = GpuShare(uuid, 50, 4 << 30)
    access = MpsAccess([uuid], tmp_path / "access", MpsLimits(), MpsTimes())

    async def lose_client() -> None:
        try:
            use(monkeypatch, dict(await access.open("a", share, lambda reason: None)))
            server = await asyncio.to_thread(Server, model, "gpu", "--device", "cuda")
            await access.end_client(share, server.program.pid)
            with pytest.raises(triton.InferenceServerException, match="GPU failed") as error:
                await asyncio.to_thread(server.infer, 3)
            assert error.value.status() == "StatusCode.UNAVAILABLE"
            process = psutil.Process(server.program.pid)
            wait_for(lambda: process.status() == psutil.STATUS_ZOMBIE, "the end of the server")
            assert server.program.stop() == exit_codes.DEVICE
            server.close()
        finally:
            access.close("a")
            await access.stop()

    asyncio.run(lose_client())
