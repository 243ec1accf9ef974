"""Requests that wait are merged where that changes nobody's answer, and each is treated as if it were alone."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as pb

from modelyard.errors import DeadlineExceededError, InvalidArgumentError
from modelyard.tensors import Array
from nodeagent.modelserver.batch import BatchLimits
from nodeagent.modelserver.dataplane import DataPlane
from nodeagent.modelserver.session import DeviceLostError
from nodeagent.modelserver.settings import ServerSettings
from tests.unit.modelserver.gated_session import BAD, GatedSession

Open = Callable[..., DataPlane]
SETTINGS = ServerSettings.load(["--model", "m", "--version", "1", "--file", "m.onnx"])


@pytest.fixture
async def open_plane() -> AsyncIterator[Open]:
    """Makes a data plane over a session, with the most rows and bytes of a run and the longest wait in seconds."""
    planes: list[tuple[DataPlane, GatedSession]] = []

    def make(session: GatedSession, rows: int = 4, wait_s: float = 0.0, max_bytes: int = 0) -> DataPlane:
        plane = DataPlane(SETTINGS, session, BatchLimits(rows, int(wait_s * 1e9), max_bytes))
        planes.append((plane, session))
        return plane

    yield make
    for plane, session in planes:
        session.let_go(1000)
        assert await plane.close(10)


def request(values: list[float], *, width: int = 1, outputs: tuple[str, ...] = (), datatype: str = "FP32") -> Any:
    """A row for each value, which fills it."""
    message = pb.ModelInferRequest(model_name="m")
    message.inputs.add(name="x", datatype=datatype, shape=[len(values), width])
    message.raw_input_contents.append(np.repeat(np.array(values, np.float32), width).tobytes())
    for name in outputs:
        message.outputs.add(name=name)
    return message


async def ask(plane: DataPlane, message: Any, time_left_s: float | None = None) -> list[list[float]]:
    """The outputs of a request, flat."""
    response, raws = await plane.infer(message, message.raw_input_contents, time_left_s)
    assert [output.shape[0] for output in response.outputs] == [message.inputs[0].shape[0]] * len(raws)
    return [np.frombuffer(raw, np.float32).tolist() for raw in raws]


async def ask_behind(plane: DataPlane, session: GatedSession, *messages: Any) -> "list[asyncio.Task[Any]]":
    """Tasks of requests that wait in this order behind one that runs, of the value 0: the first of the tasks."""
    tasks = [asyncio.create_task(ask(plane, request([0.0])))]
    await asyncio.to_thread(session.wait_begun, 1)
    for message in messages:
        tasks.append(asyncio.create_task(ask(plane, message)))
        await asyncio.sleep(0)
    return tasks


def statistics(plane: DataPlane) -> Any:
    [stats] = plane.model_statistics(pb.ModelStatisticsRequest()).model_stats
    return stats


async def test_what_waits_is_computed_in_one_run_and_each_gets_its_own_rows(open_plane: Open) -> None:
    session = GatedSession(is_open=False)
    plane = open_plane(session, rows=8)
    tasks = await ask_behind(plane, session, request([1]), request([2, 3]), request([4]))
    session.let_go(2)
    assert await asyncio.gather(*tasks) == [[[0], [0]], [[2], [-1]], [[4, 6], [-2, -3]], [[8], [-4]]]
    assert session.rows() == [1, 4]


async def test_statistics_tell_runs_and_their_rows_apart_from_requests(open_plane: Open) -> None:
    session = GatedSession(is_open=False)
    plane = open_plane(session, rows=8)
    tasks = await ask_behind(plane, session, request([1]), request([2, 3]), request([4]))
    session.let_go(2)
    await asyncio.gather(*tasks)
    stats = statistics(plane)
    assert (stats.inference_count, stats.execution_count, stats.inference_stats.success.count) == (5, 2, 4)
    assert [(batch.batch_size, batch.compute_infer.count) for batch in stats.batch_stats] == [(1, 1), (4, 1)]
    assert all(batch.compute_infer.ns > 0 for batch in stats.batch_stats)
    times = stats.inference_stats
    assert (
        times.queue.count == times.compute_input.count == times.compute_infer.count == times.compute_output.count == 4
    )
    assert times.cache_hit.count == times.cache_miss.count == 0


async def test_a_run_never_has_more_rows_than_allowed_and_the_oldest_is_always_next(open_plane: Open) -> None:
    session = GatedSession(is_open=False)
    plane = open_plane(session, rows=4)
    tasks = await ask_behind(
        plane, session, *(request([float(v)] * n) for v, n in ((1, 3), (2, 2), (3, 1), (4, 9), (5, 2)))
    )
    session.let_go(10)
    await asyncio.gather(*tasks)
    assert [array[:, 0].tolist() for array in session.runs] == [[0], [1, 1, 1, 3], [2, 2, 5, 5], [4] * 9]


async def test_rows_larger_than_those_that_were_tried_are_merged_by_fewer(open_plane: Open) -> None:
    session = GatedSession(is_open=False)
    plane = open_plane(session, rows=4, max_bytes=4 * 8)
    widths = [1] * 5 + [4] * 3 + [9] * 2
    tasks = await ask_behind(plane, session, *(request([1], width=width) for width in widths))
    session.let_go(20)
    await asyncio.gather(*tasks)
    assert [array.shape for array in session.runs[1:]] == [(4, 1), (1, 1), (2, 4), (1, 4), (1, 9), (1, 9)]


async def test_only_what_agrees_in_all_but_the_rows_is_merged(open_plane: Open) -> None:
    session = GatedSession(is_open=False)
    plane = open_plane(session, rows=8)
    kinds = [
        request([1]), request([2], width=3), request([3], outputs=("z",)), request([4]), request([5], width=3),
        request([6], outputs=("z",)), request([7], outputs=("z", "y")),
    ]  # fmt: skip
    tasks = await ask_behind(plane, session, *kinds)
    session.let_go(10)
    answers = await asyncio.gather(*tasks)
    assert answers[1] == [[2], [-1]] and answers[2] == [[4, 4, 4], [-2, -2, -2]] and answers[3] == [[-3]]
    assert answers[7] == [[-7], [14]]
    assert [array[:, 0].tolist() for array in session.runs] == [[0], [1, 4], [2, 5], [3, 6], [7]]


async def test_where_merging_is_off_each_runs_alone(open_plane: Open) -> None:
    session = GatedSession(is_open=False)
    plane = open_plane(session, rows=1)
    tasks = await ask_behind(plane, session, *(request([float(v)]) for v in range(5)))
    session.let_go(10)
    await asyncio.gather(*tasks)
    assert session.rows() == [1] * 6


async def test_a_request_that_is_wrong_never_enters_a_run(open_plane: Open) -> None:
    session = GatedSession(is_open=False)
    plane = open_plane(session)
    wrong = request([2], datatype="INT8")
    tasks = await ask_behind(plane, session, request([1]), wrong, request([3]))
    session.let_go(2)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[2], InvalidArgumentError) and session.rows() == [1, 2]
    assert results[1] == [[2], [-1]] and results[3] == [[6], [-3]]


async def test_when_a_merged_run_fails_only_the_guilty_one_does(open_plane: Open) -> None:
    session = GatedSession(is_open=False)
    plane = open_plane(session)
    tasks = await ask_behind(plane, session, request([1]), request([BAD]), request([3]))
    session.let_go(10)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[2], InvalidArgumentError)
    assert results[1] == [[2], [-1]] and results[3] == [[6], [-3]]
    assert session.rows() == [1, 3, 1, 1, 1]
    stats = statistics(plane)
    assert (stats.inference_count, stats.execution_count, stats.inference_stats.fail.count) == (3, 3, 1)


async def test_what_was_given_up_leaves_the_batch_before_it_runs(open_plane: Open) -> None:
    session = GatedSession(is_open=False)
    plane = open_plane(session)
    tasks = await ask_behind(plane, session, request([1]), request([2]), request([3]))
    tasks[1].cancel()
    await asyncio.gather(tasks[1], return_exceptions=True)
    session.let_go(2)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert session.runs[1][:, 0].tolist() == [2, 3]


async def test_one_that_is_given_up_in_a_merged_run_does_not_stop_the_others(open_plane: Open) -> None:
    session = GatedSession(is_open=False)
    plane = open_plane(session)
    tasks = await ask_behind(plane, session, request([1]), request([2]))
    session.let_go()
    await asyncio.to_thread(session.wait_begun, 2)
    tasks[1].cancel()
    await asyncio.gather(tasks[1], return_exceptions=True)
    session.let_go()
    assert await tasks[2] == [[4], [-2]]


async def test_a_merged_run_that_all_have_given_up_is_stopped(open_plane: Open) -> None:
    session = GatedSession(is_open=False)
    plane = open_plane(session)
    tasks = await ask_behind(plane, session, request([1]), request([2]))
    session.let_go()
    await asyncio.to_thread(session.wait_begun, 2)
    for task in tasks[1:]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    session.let_go()
    next_one = asyncio.create_task(ask(plane, request([3])))
    await asyncio.to_thread(session.wait_begun, 3)
    assert session.finished[1].is_cancelled
    session.let_go()
    assert await next_one == [[6], [-3]]


async def test_a_request_whose_deadline_passed_while_it_waited_is_not_run(open_plane: Open) -> None:
    session = GatedSession(is_open=False)
    plane = open_plane(session)
    tasks = await ask_behind(plane, session)
    late = asyncio.create_task(ask(plane, request([1]), 0.0))
    in_time = asyncio.create_task(ask(plane, request([2]), 1000.0))
    await asyncio.sleep(0)
    session.let_go(2)
    with pytest.raises(DeadlineExceededError, match="it was not run"):
        await late
    assert await in_time == [[4], [-2]]
    await asyncio.gather(*tasks)
    assert [array[:, 0].tolist() for array in session.runs] == [[0], [2]]
    stats = statistics(plane)
    assert (stats.execution_count, stats.inference_stats.fail.count) == (2, 1)


async def test_a_deadline_counts_also_for_what_fitted_no_run_yet(open_plane: Open) -> None:
    session = GatedSession(is_open=False)
    plane = open_plane(session)
    tasks = await ask_behind(plane, session, request([1]), request([2], width=3), request([3], width=3))
    session.let_go()
    await asyncio.to_thread(session.wait_begun, 2)
    plane._queue._held[0].deadline = 0
    session.let_go(10)
    with pytest.raises(DeadlineExceededError):
        await tasks[2]
    assert await tasks[3] == [[6, 6, 6], [-3, -3, -3]]
    assert [array[:, 0].tolist() for array in session.runs] == [[0], [1], [3]]


async def test_a_full_batch_does_not_wait_for_the_longest_wait(open_plane: Open) -> None:
    session = GatedSession()
    plane = open_plane(session, rows=2, wait_s=1000.0)
    first = asyncio.create_task(ask(plane, request([1])))
    await asyncio.sleep(0)
    assert not first.done()
    assert await ask(plane, request([2])) == [[4], [-2]]
    assert await first == [[2], [-1]] and session.rows() == [2]


async def test_nobody_waits_for_others_longer_than_set(open_plane: Open) -> None:
    session = GatedSession()
    plane = open_plane(session, rows=2, wait_s=0.02)
    start = time.monotonic()
    assert await ask(plane, request([1])) == [[2], [-1]]
    assert time.monotonic() - start >= 0.02


async def test_who_does_not_fit_ends_the_wait(open_plane: Open) -> None:
    session = GatedSession()
    plane = open_plane(session, rows=4, wait_s=1000.0)
    first = asyncio.create_task(ask(plane, request([1])))
    await asyncio.sleep(0)
    other = asyncio.create_task(ask(plane, request([2, 2, 2, 2], width=2)))
    assert await first == [[2], [-1]]
    assert (await other)[0] == [4] * 8


async def test_a_model_that_gives_other_rows_than_it_took_is_not_merged_again(open_plane: Open) -> None:
    session = GatedSession(is_open=False)
    plane = open_plane(session)
    session.change = lambda output: output[:1]
    for begun in (0, 4):
        tasks = [asyncio.create_task(ask(plane, request([0.0])))]
        await asyncio.to_thread(session.wait_begun, begun + 1)
        tasks += [asyncio.create_task(ask(plane, request([float(value)]))) for value in (1, 2)]
        await asyncio.sleep(0)
        session.let_go(10)
        assert await asyncio.gather(*tasks) == [[[0], [0]], [[2], [-1]], [[4], [-2]]]
        session._gate = threading.Semaphore(0)
    assert session.rows() == [1, 2, 1, 1, 1, 1, 1]


async def test_a_single_run_tells_as_well_that_rows_are_not_kept(open_plane: Open) -> None:
    """Two requests whose answers have none and two rows would be taken apart in the middle."""
    session = GatedSession(is_open=False)
    plane = open_plane(session)
    session.change = lambda output: output[:0]
    messages = [request([float(value)]) for value in range(3)]
    tasks = [asyncio.create_task(plane.infer(messages[0], messages[0].raw_input_contents))]
    await asyncio.to_thread(session.wait_begun, 1)
    tasks += [asyncio.create_task(plane.infer(message, message.raw_input_contents)) for message in messages[1:]]
    await asyncio.sleep(0)
    session.let_go(3)
    answers = await asyncio.gather(*tasks)
    assert [response.outputs[0].shape[0] for response, _ in answers] == [0, 0, 0]
    assert session.rows() == [1, 1, 1]


async def test_a_lost_device_fails_all_at_once_and_is_told(open_plane: Open) -> None:
    session = GatedSession(is_open=False)
    plane = open_plane(session)
    tasks = await ask_behind(plane, session, request([1]), request([2]))
    session.let_go()
    await tasks[0]
    session.error = DeviceLostError("its GPU failed")
    session.let_go()
    results = await asyncio.gather(*tasks[1:], return_exceptions=True)
    assert all(isinstance(result, DeviceLostError) for result in results) and session.rows() == [1, 2]
    assert plane.device_is_lost.is_set() and plane.lost_device == "its GPU failed"


async def test_what_nobody_waits_for_leaves_its_tensors_at_once(open_plane: Open) -> None:
    session = GatedSession(is_open=False)
    plane = open_plane(session)
    tasks = await ask_behind(plane, session)

    class Raw(bytearray):
        """Bytes that can be watched."""

    raw = Raw(4)
    alive = weakref.ref(raw)
    queued = asyncio.create_task(plane.infer(request([1]), [memoryview(raw)]))
    del raw
    await asyncio.sleep(0)
    queued.cancel()
    await asyncio.gather(queued, return_exceptions=True)
    del queued
    await asyncio.sleep(0)  # the loop lets go of what it has just told
    gc.collect()
    assert alive() is None
    session.let_go()
    await asyncio.gather(*tasks)


async def test_a_merged_run_leaves_no_circle_that_keeps_its_tensors(open_plane: Open) -> None:
    session = GatedSession(is_open=False)
    plane = open_plane(session)
    kept: list[weakref.ref[Any]] = []
    session.change = lambda output: kept.append(weakref.ref(output)) or output  # type: ignore[func-returns-value]
    tasks = await ask_behind(plane, session, request([1]), request([2]))
    session.let_go(2)
    gc.collect()
    gc.disable()
    try:
        await asyncio.gather(*tasks)
        tasks.clear()
        session.change = lambda output: output
        session.let_go()
        await ask(plane, request([3]))  # the thread has gone on to the next
        assert [reference() for reference in kept] == [None] * 4
    finally:
        gc.enable()


async def test_a_run_that_does_not_return_holds_up_no_end() -> None:
    session = GatedSession(is_open=False)
    plane = DataPlane(SETTINGS, session)
    endless = asyncio.create_task(ask(plane, request([1])))
    await asyncio.to_thread(session.wait_begun, 1)
    assert not await plane.close(0)
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "inference")
    session.let_go()
    await endless
    assert await plane.close(10)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    shapes=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 2), st.booleans()), min_size=1, max_size=20),
    rows=st.integers(1, 6),
)
async def test_whatever_is_asked_each_gets_the_answer_to_what_it_asked(
    open_plane: Open, shapes: list[tuple[int, int, bool]], rows: int
) -> None:
    session = GatedSession(is_open=False)
    plane = open_plane(session, rows=rows)
    messages = [
        request([float(10 * index + row) for row in range(count)], width=width, outputs=("z",) if only_z else ())
        for index, (count, width, only_z) in enumerate(shapes)
    ]
    tasks = await ask_behind(plane, session, *messages)
    session.let_go(1000)
    answers = await asyncio.gather(*tasks)
    for message, answer in zip(messages, answers[1:], strict=True):
        assert answer == expected(message)
    assert all(count <= max(rows, *(shape[0] for shape in shapes), 1) for count in session.rows())


def expected(message: Any) -> list[list[float]]:
    x: Array = np.frombuffer(message.raw_input_contents[0], np.float32)
    outputs = {"y": x * 2, "z": -x}
    return [outputs[name].tolist() for name in ([output.name for output in message.outputs] or ["y", "z"])]
