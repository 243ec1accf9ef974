"""The thread that runs the model, and what waits for it: first come, first served, and merged where that helps."""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from modelyard.errors import DeadlineExceededError
from nodeagent.modelserver.batch import NEVER_MERGED, BatchLimits
from nodeagent.modelserver.converters import Inference
from nodeagent.modelserver.job import Job
from nodeagent.modelserver.model_runner import Answer, Execution, Failure, ModelRunner, Outcome, Success
from nodeagent.modelserver.statistics import ExecutionRecord, RequestRecord

_POLL_S = 0.02


class InferenceQueue:
    """Jobs go in on one event loop, and are settled there. The oldest always runs next; younger ones may ride along.

    A ThreadPoolExecutor under `run_in_executor` does the same for single jobs through two futures and a condition, and
    costs a tiny model a sixth of its throughput.
    """

    def __init__(
        self,
        runner: ModelRunner,
        name: str,
        limits: BatchLimits = NEVER_MERGED,
        on_execution: Callable[[ExecutionRecord], None] = lambda _: None,
    ) -> None:
        """`on_execution`: called on the event loop after each run that computed something."""
        self._runner = runner
        self._limits = limits
        self._on_execution = on_execution
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        # Decoded, older than all in `_jobs`, and left behind by those that they did not fit. Of the thread alone.
        self._held: deque[Job] = deque()
        self._is_closing = False
        # A daemon: the end of the process must not wait for a function that never returns.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Jobs that were not taken up yet, give or take what is under way."""
        return self._jobs.qsize() + len(self._held)

    async def run(self, job: Job) -> tuple[Answer, RequestRecord]:
        """Its answer, and where its time went. Given up before the thread takes it up, it never runs."""
        self._jobs.put(job)
        try:
            return await job.future  # type: ignore[no-any-return]
        except asyncio.CancelledError:
            job.give_up()
            raise

    def close(self) -> None:
        """Lets the thread end after what is queued now; does not wait for it."""
        self._jobs.put(None)

    async def wait_ended(self, timeout_s: float) -> bool:
        """To be called after `close`. False where the thread still runs after that time."""
        end = self._loop.time() + timeout_s
        while self._thread.is_alive():
            if self._loop.time() >= end:
                return False
            await asyncio.sleep(_POLL_S)
        return True

    def _work(self) -> None:
        while self._held or not self._is_closing:
            self._perform_next()

    def _perform_next(self) -> None:
        """A function of its own, so that nothing of what was done stays in memory until the next job comes."""
        head = self._held.popleft() if self._held else self._take(None)
        if head is None:
            return
        batch = self._collect(head) if self._may_find_others(head) else (head,)
        # Those that were held, or waited for others, may have been given up meanwhile.
        wanted = [(job, inference) for job in batch if (inference := job.inference) and self._is_wanted(job)]
        if len(wanted) == 1:
            self._tell(self._settle, self._runner.run_alone(*wanted[0]))
        elif wanted:
            self._run_together(wanted)

    def _run_together(self, jobs: list[tuple[Job, Inference]]) -> None:
        companions = [job for job, _ in jobs]
        for job in companions:
            job.companions = companions
        # One that was given up before it had companions has stopped its own run, which would be that of all.
        if companions[0].is_given_up:
            self._held.extendleft(reversed(companions[1:]))
        else:
            for execution in self._runner.run_together(jobs):
                self._tell(self._settle, execution)
        for job in companions:
            job.companions = ()  # a circle: its tensors would stay until the garbage is collected

    def _may_find_others(self, head: Job) -> bool:
        """At a glance: one that is alone shall not pay for merging."""
        if head.rows >= self._limits.max_rows:
            return False
        return bool(self._held) or not self._jobs.empty() or self._limits.max_wait_ns > 0

    def _collect(self, head: Job) -> Sequence[Job]:
        """What may run with it: of what waits already, and of what comes within the longest wait."""
        inference = head.inference
        head.key = self._runner.find_key(head)
        if head.key is None or inference is None:  # it was given up just now
            return (head,)
        batch, left = [head], self._limits.rows_like(inference.feeds) - head.rows
        for held in list(self._held):
            if held.key == head.key and held.rows <= left:
                self._held.remove(held)
                batch.append(held)
                left -= held.rows
        until = head.accepted + self._limits.max_wait_ns
        while left > 0 and len(self._held) < self._limits.max_rows and not self._is_closing:
            # Who does not fit is not kept waiting for who might.
            job = self._take(0 if self._held else until)
            if job is None:
                break
            job.key = self._runner.find_key(job)
            if job.key == head.key and job.rows <= left:
                batch.append(job)
                left -= job.rows
            else:
                self._held.append(job)
        return batch

    def _take(self, until: int | None) -> Job | None:
        """The next that somebody still waits for, and that is right, decoded; None: none came, or it is the end.

        `until`: in nanoseconds of the monotonic clock; None: as long as it takes.
        """
        while True:
            try:
                job = self._get(until)
            except Empty:
                return None
            if job is None:
                self._is_closing = True
                return None
            request, raws = job.request, job.raws
            if self._is_wanted(job) and self._decode(job, request, raws):
                return job
            del job, request, raws  # or it stays in memory, tensors and all, until the next one comes

    def _get(self, until: int | None) -> Job | None:
        if until is None:
            return self._jobs.get()
        left_ns = until - time.monotonic_ns()
        return self._jobs.get(timeout=left_ns / 1e9) if left_ns > 0 else self._jobs.get_nowait()

    def _is_wanted(self, job: Job) -> bool:
        if job.deadline is not None and not job.is_given_up and time.monotonic_ns() >= job.deadline:
            late = DeadlineExceededError("its deadline passed while it waited for its turn; it was not run")
            self._tell(_settle_one, Failure(job, late))
            return False
        return not job.is_given_up

    def _decode(self, job: Job, request: Any, raws: Any) -> bool:
        try:
            job.inference = self._runner.decode(job, request, raws)
        except Exception as error:
            self._tell(_settle_one, Failure(job, error))
            return False
        return True

    def _settle(self, execution: Execution) -> None:
        if execution.record:
            self._on_execution(execution.record)
        for outcome in execution.outcomes:
            _settle_one(outcome)

    def _tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits any more
            self._loop.call_soon_threadsafe(callback, *arguments)


def _settle_one(outcome: Outcome) -> None:
    future = outcome.job.future
    if future.done():  # cancelled meanwhile
        return
    if isinstance(outcome, Success):
        # Not the job itself, which has the future: a circle of them would keep the tensors.
        future.set_result((outcome.answer, outcome.record))
    else:
        future.set_exception(outcome.error)
