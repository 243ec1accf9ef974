"""Threads for what would hold up the event loop."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeVar, TypeVarTuple

_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")
_POLL_S = 0.02


@dataclass(slots=True)
class _Job:
    future: "asyncio.Future[Any]"
    call: Callable[[], Any] | None  # None: nobody waits for it any more


class Workers:
    """Runs functions on `count` threads, first come, first served. Made and used on one event loop.

    A ThreadPoolExecutor under `run_in_executor` does the same through two futures and a condition, and costs a tiny
    model a sixth of its throughput.
    """

    def __init__(self, count: int, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # Daemons: the end of the process must not wait for a function that never returns.
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{index}", daemon=True) for index in range(count)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, function: Callable[[*_Arguments], _Result], *arguments: *_Arguments) -> _Result:
        """What the function returns or raises. Cancelled before a thread takes it up, it never runs."""
        future: asyncio.Future[_Result] = self._loop.create_future()
        job = _Job(future, lambda: function(*arguments))
        self._jobs.put(job)
        try:
            return await future
        except asyncio.CancelledError:
            job.call = None  # while the threads are busy an empty job waits in the queue, and not its tensors
            raise

    def close(self) -> None:
        """Lets the threads end after what is queued now; does not wait for them."""
        for _ in self._threads:
            self._jobs.put(None)

    async def wait_ended(self, timeout_s: float) -> bool:
        """To be called after `close`. False where a thread still runs after that time."""
        end = self._loop.time() + timeout_s
        while any(thread.is_alive() for thread in self._threads):
            if self._loop.time() >= end:
                return False
            await asyncio.sleep(_POLL_S)
        return True

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._perform(job)
            del job  # or it stays in memory, tensors and all, until the next one comes

    def _perform(self, job: _Job) -> None:
        call = job.call
        if call is None:
            return
        try:
            self._tell(_settle, job.future, call(), None)
        except Exception as error:
            self._tell(_settle, job.future, None, error)

    def _tell(self, *callback: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits any more
            self._loop.call_soon_threadsafe(*callback)


def _settle(future: "asyncio.Future[Any]", result: Any, error: Exception | None) -> None:
    if future.done():  # cancelled meanwhile
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
