"""A stream's requests, several of them under way at once, and its answers in the order in which they were asked for."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

# Of answers that are kept for a client that reads slowly; they are as large as the largest so far, as far as one can
# tell. One request at a time goes on in any case.
MOST_BYTES = 32 << 20
_MOST_AT_FIRST = 2  # until one answer has told how large they are

Answer = Callable[[bytes], Awaitable[bytes]]


class OrderedStream:
    """Of one call. `may_run_ahead`: whether one more may begin while others of this stream are not answered yet."""

    def __init__(self, most: int, may_run_ahead: Callable[[], bool]) -> None:
        """`most`: answers under way, from a request's beginning until its answer was handed on."""
        self._most = most
        self._may_run_ahead = may_run_ahead
        self._under_way = 0
        self._largest_bytes = 0  # of the answers so far
        self._changed = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._answering: set[asyncio.Task[bytes]] = set()

    async def answers(self, requests: AsyncIterator[bytes], answer: Answer) -> AsyncGenerator[bytes, None]:
        """Of each request, in order. `answer` raises nothing that is not a defect. Ends what runs when it is closed."""
        waiting: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read(requests, answer, waiting))
        try:
            while task := await waiting.get():
                yield await task
                del task  # or a stream that stands idle keeps its last answer
                self._under_way -= 1
                self._changed.set()
            await self._reading  # raises what ended it
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Ends all that runs for this stream: nobody will read its answers."""
        if self._reading:
            self._reading.cancel()
        for task in self._answering:
            task.cancel()

    async def _read(
        self, requests: AsyncIterator[bytes], answer: Answer, waiting: "asyncio.Queue[asyncio.Task[bytes] | None]"
    ) -> None:
        try:
            async for data in requests:
                await self._wait_for_place()
                task = asyncio.ensure_future(answer(data))
                self._under_way += 1
                self._answering.add(task)
                task.add_done_callback(self._note_answer)
                waiting.put_nowait(task)
                del task, data
        finally:
            waiting.put_nowait(None)

    async def _wait_for_place(self) -> None:
        while self._is_full():
            self._changed.clear()
            await self._changed.wait()
        if self._answering and not self._may_run_ahead():
            await asyncio.wait(self._answering)

    def _is_full(self) -> bool:
        most = self._most if self._largest_bytes else min(self._most, _MOST_AT_FIRST)
        bytes_with_one_more = (self._under_way + 1) * self._largest_bytes
        return self._under_way >= most or (self._under_way > 0 and bytes_with_one_more > MOST_BYTES)

    def _note_answer(self, task: "asyncio.Task[bytes]") -> None:
        self._answering.discard(task)
        if not task.cancelled() and not task.exception():
            self._largest_bytes = max(self._largest_bytes, len(task.result()))
            self._changed.set()
