"""Replicas that are real Tritons, through the whole yard: a client cannot tell them from the built-in server's."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Queue
from typing import Any

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from modelyard import Client
from modelyard.tensors import Array
from modelyard.v1 import resources_pb2
from tests.e2e.test_whole_path import write_model_of_mixed_types
from tests.harness.models import write_scale_model
from tests.harness.programs import wait_for
from tests.harness.triton import PROGRAM, list_segments, needs_triton
from tests.harness.yard import Yard, replica_pid

pytestmark = needs_triton
ROW = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
ON_TRITON = resources_pb2.Serving(runtime="triton")
QUICK_PROBES = ("--probe-interval-s", "0.2")


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """Triton serves `scale`, version 1 as production and 2 as staging; the built-in server serves `plain`, the same."""
    folder = tmp_path_factory.mktemp("yard")
    running = Yard(folder, agent_options=("--triton", str(PROGRAM), *QUICK_PROBES))
    try:
        for model, serving in (("scale", ON_TRITON), ("plain", None)):
            for version, (factor, alias) in enumerate(((2.0, "production"), (3.0, "staging")), start=1):
                running.register(model, write_scale_model(folder / "model.onnx", factor))
                running.set_alias(model, alias, version)
                running.deploy(model, alias, serving=serving)
        for model in ("scale", "plain"):
            running.wait_serving(model, version=1, replicas=1)
            running.wait_serving(model, "staging", version=2, replicas=1)
        yield running
    finally:
        running.close()


def infer(yard: Yard, model: str, version: str = "", rows: Array = ROW) -> triton.InferResult:
    with triton.InferenceServerClient(yard.address) as client:
        tensor = triton.InferInput("x", list(rows.shape), "FP32")
        tensor.set_data_from_numpy(rows)
        return client.infer(model, [tensor], model_version=version, client_timeout=20)


def test_triton_serves_what_asked_for_it(yard: Yard) -> None:
    assert {replica.runtime for replica in yard.replicas("scale")} == {"triton"}
    assert {replica.runtime for replica in yard.replicas("plain")} == {"built-in"}


@pytest.mark.parametrize(
    ("model", "version", "factor", "answered_by"),
    [
        ("scale", "", 2.0, "1"),
        ("scale", "production", 2.0, "1"),
        ("scale", "staging", 3.0, "2"),
        ("scale", "1", 2.0, "1"),
        ("scale", "2", 3.0, "2"),
        ("scale@2", "", 3.0, "2"),
        ("scale@staging", "", 3.0, "2"),
        ("scale@production", "", 2.0, "1"),
    ],
)
def test_a_request_names_what_it_wants(yard: Yard, model: str, version: str, factor: float, answered_by: str) -> None:
    rows = np.random.default_rng(7).standard_normal((5, 4), np.float32)
    result = infer(yard, model, version, rows)
    np.testing.assert_allclose(result.as_numpy("y"), rows * factor, rtol=1e-5)
    plain = infer(yard, model.replace("scale", "plain"), version, rows)
    np.testing.assert_allclose(result.as_numpy("y"), plain.as_numpy("y"), rtol=1e-5)
    response = result.get_response()
    assert (response.model_name, response.model_version) == ("scale", answered_by)
    with triton.InferenceServerClient(yard.address) as client:
        assert client.is_model_ready(model, version)
        metadata = client.get_model_metadata(model, version)
        assert (metadata.name, list(metadata.versions)) == ("scale", [answered_by])
        assert client.get_model_config(model, version).config.name == "scale"
        (statistics,) = client.get_inference_statistics(model, version).model_stats
        assert (statistics.version, statistics.inference_stats.success.count > 0) == (answered_by, True)


def test_our_own_client_names_it_in_the_header(yard: Yard) -> None:
    with Client(yard.address) as client:
        named: list[tuple[dict[str, Any], float]] = [
            ({}, 2.0), ({"alias": "staging"}, 3.0), ({"version": 2}, 3.0), ({"alias": "production"}, 2.0),
        ]  # fmt: skip
        for options, factor in named:
            np.testing.assert_array_equal(client.infer("scale", x=ROW, **options)["y"], ROW * factor)
        np.testing.assert_array_equal(client.infer(model_id="scale@2", x=[[1.0, 0.0, 0.0, 0.0]])["y"][0, 0], 3.0)
        assert client.is_ready("scale", alias="staging")


def stream_one(yard: Yard, model: str, version: str = "") -> triton.InferResult:
    """Raises InferenceServerException."""
    answers: Queue[tuple[Any, Any]] = Queue()
    with triton.InferenceServerClient(yard.address) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        tensor = triton.InferInput("x", [1, 4], "FP32")
        tensor.set_data_from_numpy(ROW)
        client.async_stream_infer(model, [tensor], model_version=version)
        result, error = answers.get(timeout=20)
    if error:
        raise error
    return result


def test_a_stream_may_use_the_bare_name_and_a_number(yard: Yard) -> None:
    for version in ("", "1"):
        np.testing.assert_array_equal(stream_one(yard, "scale", version).as_numpy("y"), ROW * 2)
    with pytest.raises(InferenceServerException):  # its messages pass unchanged, and Triton knows no aliases
        stream_one(yard, "scale", "staging")


def test_wrong_input_is_told_and_the_replica_stays(yard: Yard) -> None:
    with pytest.raises(InferenceServerException, match="'x'") as caught:
        infer(yard, "scale", rows=np.zeros((1, 5), np.float32))
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    np.testing.assert_array_equal(infer(yard, "scale").as_numpy("y"), ROW * 2)


def test_a_model_whose_process_was_killed_is_replaced(yard: Yard) -> None:
    """Triton itself goes on saying that it is ready."""
    before = only_replica(yard, "staging")
    (stub,) = psutil.Process(replica_pid(yard, before)).children()
    stub.kill()
    wait_for(lambda: only_replica(yard, "staging").restarts > before.restarts, "another Triton", 60)
    wait_for(lambda: answers(yard, "staging"), "its answer")


def test_what_a_killed_triton_leaves_is_removed(yard: Yard) -> None:
    before = only_replica(yard, "staging")
    server = psutil.Process(replica_pid(yard, before))
    processes = [server, *server.children()]
    folder = yard.folder / "agent" / "replicas" / before.replica_id
    old = set(list_segments(folder))
    assert old
    for process in processes:
        os.kill(process.pid, signal.SIGSTOP)  # none of them tidies up when the other dies
    for process in reversed(processes):
        process.kill()
    wait_for(lambda: only_replica(yard, "staging").restarts > before.restarts, "another Triton", 60)
    wait_for(lambda: answers(yard, "staging"), "its answer")
    assert not old & set(list_segments(folder))
    assert len(list_segments(folder)) == 1


def test_an_agent_that_is_killed_finds_its_triton_again(yard: Yard) -> None:
    before = only_replica(yard, "production")
    pid = replica_pid(yard, before)
    yard.agent.kill()
    yard.agent.start()
    yard.wait_serving("scale", version=1, replicas=1)
    after = only_replica(yard, "production")
    assert (replica_pid(yard, after), after.restarts, after.runtime) == (pid, before.restarts, "triton")
    np.testing.assert_array_equal(infer(yard, "scale").as_numpy("y"), ROW * 2)


def test_requests_are_merged_where_the_deployment_says_so(yard: Yard) -> None:
    yard.deploy(
        "scale",
        "staging",
        serving=resources_pb2.Serving(runtime="triton", max_batch_rows=8, max_batch_wait_us=100_000),
    )
    with triton.InferenceServerClient(yard.address) as client:
        wait_for(lambda: has_batching(client), "a replica that merges", 60)
        # Not always at the first try: eight callers on a busy host may come one by one, and the replica that leaves may
        # still be the one that tells its statistics.
        wait_for(lambda: are_merged(yard, client), "requests that are merged", 60)


def are_merged(yard: Yard, client: triton.InferenceServerClient) -> bool:
    """Whether some were, once eight at the same time have got the right answers."""
    rows = [np.full((1, 4), number, np.float32) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answered = list(pool.map(lambda row: infer(yard, "scale", "staging", row).as_numpy("y"), rows))
    np.testing.assert_array_equal(np.concatenate(answered), np.concatenate(rows) * 3)
    (statistics,) = client.get_inference_statistics("scale", "2").model_stats
    return bool(statistics.inference_count > statistics.execution_count)


def has_batching(client: triton.InferenceServerClient) -> bool:
    with suppress(InferenceServerException):
        return bool(client.get_model_config("scale", "staging").config.HasField("dynamic_batching"))
    return False


def test_a_model_that_triton_cannot_load_is_told_in_its_words_and_the_old_one_goes_on(yard: Yard) -> None:
    bad = yard.register("scale", write_model_of_mixed_types(yard.folder / "bad.onnx"))
    yard.set_alias("scale", "production", bad)
    message = wait_for(lambda: "Triton" in (told := yard.status("scale").message) and told, "the reason", 60)
    assert "Triton cannot load the model" in message and "onnxruntime cannot load it" in message
    np.testing.assert_array_equal(infer(yard, "scale").as_numpy("y"), ROW * 2)
    yard.set_alias("scale", "production", 1)
    yard.wait_serving("scale", version=1, replicas=1)


def test_undeploy_leaves_nothing(yard: Yard) -> None:
    folders = [yard.folder / "agent" / "replicas" / replica.replica_id for replica in yard.replicas("scale")]
    for alias in ("production", "staging"):
        yard.undeploy("scale", alias)
    wait_for(lambda: not yard.replicas("scale"), "the end of its replicas", 60)
    wait_for(lambda: not any(folder.exists() for folder in folders), "the end of their folders")
    # What Triton started is killed behind it, and dies when the host has the time for it.
    wait_for(lambda: not any(is_triton(process) for process in yard.processes()), "the end of its processes")
    assert not [segment for folder in folders for segment in list_segments(folder)]


def is_triton(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return "triton" in process.name()
    return False


def only_replica(yard: Yard, alias: str) -> resources_pb2.Replica:
    (replica,) = (replica for replica in yard.replicas("scale") if replica.alias == alias)
    return replica


def answers(yard: Yard, version: str) -> bool:
    with suppress(InferenceServerException):
        return infer(yard, "scale", version).as_numpy("y") is not None
    return False
