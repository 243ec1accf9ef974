"""Quick models are computed on the event loop itself, where nothing else waits; all others on the thread."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from tritonclient.grpc import service_pb2 as pb

from modelyard.errors import DeadlineExceededError, InvalidArgumentError
from nodeagent.modelserver import warm_up
from nodeagent.modelserver.dataplane import DataPlane
from nodeagent.modelserver.onnx_session import OnnxSession
from nodeagent.modelserver.settings import ServerSettings
from nodeagent.modelserver.warm_up import WarmUp
from tests.harness.models import write_scale_model
from tests.harness.onnx_models import tensor, write_counting_model, write_identity_model, write_model
from tests.unit.modelserver.gated_session import BAD, GatedSession

ROW_BYTES = 8


class ThreadSession(GatedSession):
    """Keeps which thread each run was on."""

    def __init__(self, *, is_open: bool = True) -> None:
        super().__init__(is_open=is_open)
        self.threads: list[int] = []

    def run(self, *arguments: Any) -> Any:
        self.threads.append(threading.get_ident())
        return super().run(*arguments)


@pytest.fixture
def session() -> ThreadSession:
    return ThreadSession()


@pytest.fixture
async def plane(session: ThreadSession) -> AsyncIterator[DataPlane]:
    settings = ServerSettings.load(["--model", "m", "--version", "1", "--file", "m.onnx"])
    made = DataPlane(settings, session, inline_bytes=ROW_BYTES)
    yield made
    session.let_go(10)
    assert await made.close(10)


async def infer(plane: DataPlane, *rows: list[float], time_left_s: float | None = None) -> list[float]:
    array = np.array(rows, np.float32)
    request = pb.ModelInferRequest(model_name="m")
    request.inputs.add(name="x", datatype="FP32", shape=array.shape)
    _, raws = await plane.infer(request, [array.tobytes()], time_left_s)
    answer: list[float] = np.frombuffer(raws[0], np.float32).tolist()
    return answer


async def test_small_request_is_computed_at_once(plane: DataPlane, session: ThreadSession) -> None:
    assert await infer(plane, [1, 2], time_left_s=60) == [2, 4]
    assert session.threads == [threading.get_ident()]


async def test_larger_request_goes_to_the_thread(plane: DataPlane, session: ThreadSession) -> None:
    assert await infer(plane, [1, 2], [3, 4]) == [2, 4, 6, 8]
    assert session.threads != [threading.get_ident()]


async def test_nobody_overtakes_who_is_waiting() -> None:
    session = ThreadSession(is_open=False)
    settings = ServerSettings.load(["--model", "m", "--version", "1", "--file", "m.onnx"])
    plane = DataPlane(settings, session, inline_bytes=ROW_BYTES)
    large = asyncio.ensure_future(infer(plane, [1, 2], [3, 4]))
    await asyncio.to_thread(session.wait_begun, 1)
    small = asyncio.ensure_future(infer(plane, [5, 6]))
    await asyncio.sleep(0)
    assert session.rows() == [2]
    session.let_go(2)
    assert (await large, await small) == ([2, 4, 6, 8], [10, 12])
    assert threading.get_ident() not in session.threads
    assert await plane.close(10)


async def test_it_is_counted_like_any_other(plane: DataPlane) -> None:
    await infer(plane, [1, 2])
    with pytest.raises(InvalidArgumentError):
        await infer(plane, [BAD, 2])
    with pytest.raises(InvalidArgumentError):
        await plane.infer(pb.ModelInferRequest(model_name="m"), [b"12345678"])
    [stats] = plane.model_statistics(pb.ModelStatisticsRequest()).model_stats
    assert (stats.inference_stats.success.count, stats.inference_stats.fail.count) == (1, 2)
    assert (stats.inference_count, stats.execution_count) == (1, 1)
    assert stats.inference_stats.compute_infer.ns > 0
    assert plane.admission.in_flight == 0


async def test_deadline_that_has_passed_is_honoured(plane: DataPlane, session: ThreadSession) -> None:
    with pytest.raises(DeadlineExceededError):
        await infer(plane, [1, 2], time_left_s=0)
    assert session.runs == []


def inline_bytes(file: Path, *flags: str) -> int:
    settings = ServerSettings.load(["--model", "m", "--version", "1", "--file", str(file), *flags])
    warm = WarmUp(settings, OnnxSession(file, threads=1, max_string_elements=100))
    warm.run()
    return warm.find_inline_bytes()


@pytest.fixture
def endless_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a slow machine changes nothing."""
    monkeypatch.setattr(warm_up, "_QUICK_S", 60.0)


@pytest.mark.usefixtures("endless_patience")
@pytest.mark.parametrize("flags", [(), ("--max-batch-rows", "1")])
def test_quick_model_is_run_inline_for_one_row(flags: tuple[str, ...], tmp_path: Path) -> None:
    assert inline_bytes(write_scale_model(tmp_path / "m.onnx", 2.0), *flags) == 16


@pytest.mark.usefixtures("endless_patience")
def test_model_whose_requests_are_to_be_merged_is_not(tmp_path: Path) -> None:
    assert inline_bytes(write_scale_model(tmp_path / "m.onnx", 2.0), "--max-batch-rows", "8") == 0


def test_slow_model_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_up, "_QUICK_S", 0.0)
    assert inline_bytes(write_scale_model(tmp_path / "m.onnx", 2.0)) == 0


@pytest.mark.usefixtures("endless_patience")
def test_model_that_may_take_longer_than_was_measured_is_not(tmp_path: Path) -> None:
    """It counts to what it is given, its inputs vary, or are texts. One of a fixed size will do."""
    file = tmp_path / "m.onnx"
    assert inline_bytes(write_counting_model(file)) == 0
    assert inline_bytes(write_identity_model(file, "FP32", ["b", "length"])) == 0
    assert inline_bytes(write_identity_model(file, "FP32", None)) == 0
    assert inline_bytes(write_identity_model(file, "BYTES", ["b", 3])) == 0
    node = helper.make_node("Concat", ["x", "x"], ["y"], axis=1)
    x, y = tensor("x", "FP32", [2, 3]), tensor("y", "FP32", [2, 6])
    assert inline_bytes(write_model(file, [node], [x], [y])) == 24
