"""How every program of the yard starts, tells that it is ready, and stops."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Protocol

from modelyard.logs import LogFormat, configure_logging


class RunSettings(Protocol):
    """What is needed of a program's settings to run it; `ProgramSettings` has it all.

    Spelled out, so that a program that must start fast need not import pydantic.
    """

    @property
    def program(self) -> str: ...
    @property
    def log_level(self) -> str: ...
    @property
    def log_format(self) -> LogFormat: ...
    @property
    def ready_fd(self) -> int | None: ...
    @property
    def parent_fd(self) -> int | None: ...


def announce_ready(settings: RunSettings, **facts: object) -> None:
    """Writes one JSON line with `facts` (such as the address that was bound) for whoever started this program."""
    if settings.ready_fd is None:
        return
    line = json.dumps({"program": settings.program, **facts}) + "\n"
    with contextlib.suppress(BrokenPipeError), os.fdopen(settings.ready_fd, "w") as pipe:
        pipe.write(line)


class Patience:
    """Tells a second request to stop from the same one that came twice: a terminal and a shell may both send it."""

    _SAME_S = 0.3

    def __init__(self) -> None:
        self._asked_at: float | None = None

    def is_over(self, now: float) -> bool:
        """To be called at each request; True at one that comes after another, and later than by chance."""
        if self._asked_at is None:
            self._asked_at = now
        return now - self._asked_at > self._SAME_S


def run_program(
    settings: RunSettings,
    main: Callable[[asyncio.Event], Awaitable[None]],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> None:
    """Runs `main(stop)` until it returns. `stop` is set by SIGTERM, SIGINT, and the end of the parent.

    A second signal while it stops ends the process at once, with the status a shell expects. `loop_factory`: None for
    asyncio's own event loop.
    """
    configure_logging(settings.log_level, settings.log_format)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_run(settings, main))


async def _run(settings: RunSettings, main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    patience = Patience()

    def on_signal(number: signal.Signals) -> None:
        if patience.is_over(loop.time()):
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    if settings.parent_fd is not None:
        # The parent holds the other end for as long as it lives, however it dies.
        loop.add_reader(settings.parent_fd, _on_parent_gone, loop, settings.parent_fd, stop)
    await main(stop)


def _on_parent_gone(loop: asyncio.AbstractEventLoop, descriptor: int, stop: asyncio.Event) -> None:
    loop.remove_reader(descriptor)
    stop.set()
