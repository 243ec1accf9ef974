"""Functions run off the loop, in order, and what nobody waits for any more is not run."""

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator

import numpy as np
import pytest

from nodeagent.modelserver.workers import Workers


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    made = Workers(1, "test")
    yield made
    made.close()


async def test_results_and_errors_come_back(workers: Workers) -> None:
    assert await workers.run(lambda a, b: a + b, 1, 2) == 3
    with pytest.raises(ZeroDivisionError):
        await workers.run(lambda: 1 // 0)
    assert await workers.run(threading.get_ident) != threading.get_ident()


async def test_what_was_cancelled_in_the_queue_never_runs(workers: Workers) -> None:
    go = threading.Event()
    ran: list[str] = []
    first = asyncio.ensure_future(workers.run(go.wait))
    second = asyncio.ensure_future(workers.run(ran.append, "second"))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    go.set()
    await first
    await workers.run(ran.append, "third")
    assert ran == ["third"]


async def test_cancelled_while_it_runs_it_harms_nobody(workers: Workers) -> None:
    started, go = threading.Event(), threading.Event()

    def wait() -> None:
        started.set()
        go.wait()

    running = asyncio.ensure_future(workers.run(wait))
    await asyncio.to_thread(started.wait)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    go.set()
    assert await workers.run(lambda: "next") == "next"


async def test_what_nobody_waits_for_leaves_its_arguments_at_once(workers: Workers) -> None:
    go = threading.Event()
    first = asyncio.ensure_future(workers.run(go.wait))
    tensor = np.zeros(8)
    alive = weakref.ref(tensor)
    queued = asyncio.ensure_future(workers.run(np.sum, tensor))
    await asyncio.sleep(0)
    queued.cancel()
    await asyncio.gather(queued, return_exceptions=True)
    del tensor, queued
    await asyncio.sleep(0)  # the loop lets go of what it has just told
    gc.collect()
    assert alive() is None
    go.set()
    await first


async def test_a_function_that_does_not_return_holds_up_no_end() -> None:
    go, made = threading.Event(), Workers(1, "endless")
    endless = asyncio.ensure_future(made.run(go.wait))
    await asyncio.sleep(0)
    [thread] = [thread for thread in threading.enumerate() if thread.name == "endless-0"]
    made.close()
    assert not await made.wait_ended(0)
    assert thread.daemon
    go.set()
    await endless
    assert await made.wait_ended(10)


async def test_close_ends_the_threads() -> None:
    before = set(threading.enumerate())
    made = Workers(3, "test")
    threads = set(threading.enumerate()) - before
    assert len(threads) == 3
    made.close()
    for thread in threads:
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()
