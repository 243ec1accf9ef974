"""Calls into a store that may never come back: in threads of their own, so many at once, each waited for so long."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from modelyard.errors import UnavailableError

T = TypeVar("T")


class Ticks:
    """How often a long call has said that it gets on."""

    def __init__(self) -> None:
        self.count = 0

    def tick(self) -> None:
        self.count += 1


class BlockingCalls:
    """`what`: whose calls these are, for the sentence that tells of one that does not come back.

    The threads are daemons: one that hangs in a dead store holds up neither the others nor the end of the process.
    """

    def __init__(self, what: str, timeout_s: float, concurrency: int = 16) -> None:
        self._what = what
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(concurrency)

    async def run(self, act: Callable[..., T], *arguments: Any, ticks: Ticks | None = None) -> T:
        """`act(*arguments)`. UnavailableError where it takes, or with `ticks` does not get on for, the timeout.

        The call itself goes on then, and keeps its slot; so it does where the caller is cancelled.
        """
        try:
            # Not wait_for, which forgets a cancellation that comes together with the slot.
            async with asyncio.timeout(self._timeout_s):
                await self._slots.acquire()
        except TimeoutError:
            raise self._silence() from None
        outcome = self._start(act, arguments)
        seen = -1
        while not (await asyncio.wait({outcome}, timeout=self._timeout_s))[0]:
            if ticks is None or ticks.count == seen:
                raise self._silence()
            seen = ticks.count
        return outcome.result()

    async def run_to_end(self, act: Callable[..., T], *arguments: Any) -> T:
        """`act(*arguments)`, however long it takes."""
        await self._slots.acquire()
        return await self._start(act, arguments)

    def _silence(self) -> UnavailableError:
        return UnavailableError(
            f"{self._what} did not answer within {self._timeout_s:g} s; see whether it is up, and try again"
        )

    def _start(self, act: Callable[..., T], arguments: tuple[Any, ...]) -> "asyncio.Future[T]":
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            self._slots.release()
            if error is not None:
                outcome.set_exception(error)
                outcome.exception()  # whoever waited may have gone
            else:
                outcome.set_result(result)  # type: ignore[arg-type]

        def call() -> None:
            result, error = None, None
            try:
                result = act(*arguments)
            except BaseException as raised:
                error = raised
            with suppress(RuntimeError):  # the loop is closed by now
                loop.call_soon_threadsafe(settle, result, error)

        threading.Thread(target=call, name="store", daemon=True).start()
        return outcome
