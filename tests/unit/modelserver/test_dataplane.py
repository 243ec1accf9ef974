"""The protocol's behaviour, without a network."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from modelyard.errors import InvalidArgumentError, NotFoundError, ResourceExhaustedError, UnimplementedError
from nodeagent.modelserver.dataplane import DataPlane
from nodeagent.modelserver.onnx_session import OnnxRun, OnnxSession
from nodeagent.modelserver.settings import ServerSettings
from tests.harness.onnx_models import write_identity_model

TOKEN = "0123456789abcdef"


@pytest.fixture
async def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DataPlane]:
    file = write_identity_model(tmp_path / "m.onnx", "FP32", ["b", 2])
    flags = ["--model", "resnet", "--version", "3", "--file", str(file), "--max-concurrent-requests", "2"]
    monkeypatch.setenv("MODELYARD_CANARY_TOKEN", TOKEN)
    made = DataPlane(ServerSettings.load(flags), OnnxSession(file, threads=1, max_string_elements=1))
    yield made
    assert await made.close(10)


async def infer(plane: DataPlane, request: Any) -> Any:
    response, raws = await plane.infer(request, request.raw_input_contents)
    assert bytes(raws[0]) == request.raw_input_contents[0]
    return response


def infer_request(rows: int = 1, name: str = "resnet", version: str = "", request_id: str = "q") -> Any:
    request = pb.ModelInferRequest(model_name=name, model_version=version, id=request_id)
    request.inputs.add(name="x", datatype="FP32", shape=[rows, 2])
    request.raw_input_contents.append(np.ones(rows * 2, np.float32).tobytes())
    return request


@pytest.mark.parametrize(
    ("name", "version"),
    [("resnet", ""), ("resnet", "3"), ("resnet", "eu"), ("resnet@3", ""), ("resnet@eu", ""), ("resnet@3", "3")],
)
async def test_all_names_that_may_mean_this_version(plane: DataPlane, name: str, version: str) -> None:
    response = await infer(plane, infer_request(name=name, version=version))
    assert (response.model_name, response.model_version, response.id) == ("resnet", "3", "q")
    assert plane.model_ready(pb.ModelReadyRequest(name=name, version=version)).ready


@pytest.mark.parametrize(
    ("name", "version"),
    [("other", ""), ("", ""), ("resnet", "4"), ("resnet@4", ""), ("resnet@3", "4"), ("other@3", "3")],
)
async def test_names_of_others_are_refused(plane: DataPlane, name: str, version: str) -> None:
    with pytest.raises(NotFoundError, match="serves resnet@3"):
        await infer(plane, infer_request(name=name, version=version))
    with pytest.raises(NotFoundError):
        plane.model_metadata(pb.ModelMetadataRequest(name=name, version=version))
    assert not plane.model_ready(pb.ModelReadyRequest(name=name, version=version)).ready


async def test_statistics_count_what_was_done(plane: DataPlane) -> None:
    await infer(plane, infer_request())
    await infer(plane, infer_request(rows=4))
    bad = infer_request()
    bad.inputs[0].datatype = "INT8"
    with pytest.raises(InvalidArgumentError):
        await infer(plane, bad)
    [stats] = plane.model_statistics(pb.ModelStatisticsRequest()).model_stats
    assert (stats.name, stats.version) == ("resnet", "3")
    assert (stats.inference_count, stats.execution_count) == (5, 2)
    times = stats.inference_stats
    assert times.success.count == times.queue.count == times.compute_infer.count == 2
    assert times.fail.count == 1
    parts = times.queue.ns + times.compute_input.ns + times.compute_infer.ns + times.compute_output.ns
    assert 0 < parts <= times.success.ns
    assert stats.last_inference > 0


def success_count(plane: DataPlane) -> int:
    [stats] = plane.model_statistics(pb.ModelStatisticsRequest()).model_stats
    return int(stats.inference_stats.success.count + stats.inference_stats.fail.count)


async def test_a_probe_is_known_by_its_token_and_not_counted(plane: DataPlane) -> None:
    await infer(plane, infer_request(request_id=TOKEN))
    assert success_count(plane) == 0
    for request_id in ("", "modelyard-canary", TOKEN[:-1]):
        await infer(plane, infer_request(request_id=request_id))
    assert success_count(plane) == 3


async def test_without_a_token_nothing_is_a_probe(plane: DataPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plane, "_settings", replace(plane._settings, canary_token=""))
    await infer(plane, infer_request(request_id=""))
    assert success_count(plane) == 1


@pytest.mark.parametrize("request_id", ["q", TOKEN], ids=["request", "probe"])
async def test_a_run_that_nobody_waits_for_is_cancelled(
    plane: DataPlane, request_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, go, runs = threading.Event(), threading.Event(), []

    def run_until_told(_names: Any, _feeds: Any, run: OnnxRun) -> Any:
        runs.append(run)
        started.set()
        go.wait()

    monkeypatch.setattr(plane._session, "run", run_until_told)
    given_up = asyncio.ensure_future(infer(plane, infer_request(request_id=request_id)))
    await asyncio.to_thread(started.wait)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    assert runs[0].options.terminate and plane.admission.in_flight == 0
    assert success_count(plane) == (request_id != TOKEN)
    go.set()


async def test_beyond_the_limit_requests_are_refused_at_once(plane: DataPlane) -> None:
    results = await asyncio.gather(*(infer(plane, infer_request()) for _ in range(5)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, ResourceExhaustedError)]
    assert (
        len(refused) == 3
        and "2 requests are running or waiting on this replica, and its limit is 2" in refused[0].message
    )
    assert plane.admission.in_flight == 0
    await infer(plane, infer_request())
    [stats] = plane.model_statistics(pb.ModelStatisticsRequest()).model_stats
    assert (stats.inference_stats.success.count, stats.inference_stats.fail.count) == (3, 3)


async def test_a_probe_that_is_refused_is_not_counted(plane: DataPlane) -> None:
    asked = [infer(plane, infer_request(request_id=request_id)) for request_id in ("", "", TOKEN)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(results[2], ResourceExhaustedError) and success_count(plane) == 2


async def test_a_request_that_is_given_up_leaves_no_trace(plane: DataPlane) -> None:
    given_up = asyncio.ensure_future(infer(plane, infer_request()))
    await asyncio.sleep(0)
    assert plane.admission.in_flight == 1
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    assert plane.admission.in_flight == 0


async def test_a_server_that_leaves_is_not_ready_but_answers(plane: DataPlane) -> None:
    plane.ready = False
    assert not plane.server_ready(None).ready and plane.server_live(None).live
    assert not plane.model_ready(pb.ModelReadyRequest(name="resnet")).ready
    [index] = plane.repository_index(pb.RepositoryIndexRequest()).models
    assert index.state == "UNAVAILABLE" and index.reason
    assert not plane.repository_index(pb.RepositoryIndexRequest(ready=True)).models
    await infer(plane, infer_request())


async def test_the_index_lists_the_model(plane: DataPlane) -> None:
    [index] = plane.repository_index(pb.RepositoryIndexRequest()).models
    assert (index.name, index.version, index.state) == ("resnet", "3", "READY")
    with pytest.raises(UnimplementedError):
        plane.repository_index(pb.RepositoryIndexRequest(repository_name="r"))


async def test_an_answer_on_its_way_is_waited_for(plane: DataPlane) -> None:
    await infer(plane, infer_request())
    plane.admission.begin_answer()
    idle = asyncio.ensure_future(plane.admission.wait_idle())
    await asyncio.sleep(0)
    assert not idle.done()
    plane.admission.end_answer()
    await idle


async def test_waiting_for_idle(plane: DataPlane) -> None:
    request = asyncio.ensure_future(infer(plane, infer_request()))
    await asyncio.sleep(0)
    idle = asyncio.ensure_future(plane.admission.wait_idle())
    await asyncio.sleep(0)
    assert not idle.done()
    await request
    await idle
