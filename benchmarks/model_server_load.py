"""The load generator: callers that send the next request as soon as they have the answer to the last."""

import gc
import select
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field

from benchmarks.model_server_http2 import Connection, LoadError, Request

_LONGEST_SILENCE_S = 60.0


@dataclass
class Load:
    """`seconds`: from the first request to the last answer; of the latencies, a caller's first call is left out.

    `busy`: the part of its time that the generator computed. `answers`: all that differ.
    """

    count: int = 0
    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    busy: float = 0.0
    answers: set[bytes] = field(default_factory=set)

    @property
    def rate(self) -> float:
        return self.count / self.seconds

    def percentile_ms(self, percent: int) -> float:
        return percentile(self.latencies_s, percent) * 1e3


def percentile(values: list[float], percent: int) -> float:
    """Interpolated between the two values that are nearest; of one value it is that value."""
    if len(values) < 2:
        return values[0] if values else float("nan")
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def run_load(port: int, request: Request, callers: int, seconds: float) -> Load:
    """Each caller has a connection of its own, and begins no call once `seconds` are over. Raises LoadError.

    The server stands idle at the beginning and at the end, and has work all the while between: so what it has answered
    over that time is its throughput, however it merges requests.
    """
    with ExitStack() as stack:
        connections = [stack.enter_context(closing(Connection(port, request))) for _ in range(callers)]
        poll = stack.enter_context(closing(select.epoll()))
        stack.enter_context(_no_garbage_collection())
        load = Load()
        computing, start = time.process_time(), time.perf_counter()
        _call(connections, poll, load, start + seconds)
        load.seconds = time.perf_counter() - start
        load.busy = (time.process_time() - computing) / load.seconds
        return load


def _call(connections: list[Connection], poll: select.epoll, load: Load, end: float) -> None:
    by_number = {connection.fileno(): connection for connection in connections}
    started = {}
    for number, connection in by_number.items():
        started[number] = time.perf_counter()
        connection.start()
        poll.register(number, select.EPOLLIN | select.EPOLLOUT if connection.has_unsent else select.EPOLLIN)
    seen = set()  # who had an answer
    calling = len(connections)
    while calling:
        for number, events in _wait(poll):
            connection = by_number[number]
            if events & select.EPOLLOUT:
                connection.flush()
            answer = connection.receive() if events & ~select.EPOLLOUT else None
            if answer is not None:
                now = time.perf_counter()
                load.count += 1
                load.answers.add(answer)
                if number in seen:
                    load.latencies_s.append(now - started[number])
                seen.add(number)
                if now < end:
                    started[number] = now
                    connection.start()
                else:
                    calling -= 1
            if connection.has_unsent or events & select.EPOLLOUT:
                poll.modify(number, select.EPOLLIN | select.EPOLLOUT if connection.has_unsent else select.EPOLLIN)


def _wait(poll: select.epoll) -> list[tuple[int, int]]:
    if events := poll.poll(_LONGEST_SILENCE_S):
        return events
    raise LoadError(f"no answer for {_LONGEST_SILENCE_S:g} seconds")


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
