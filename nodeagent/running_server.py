"""The process of one launch, and all that watches it."""

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import psutil

from nodeagent import replica_events as events
from nodeagent.canary import CanaryError, Prober
from nodeagent.exit_reasons import Ending, describe_ending
from nodeagent.memory_watch import MemoryWatch
from nodeagent.pulse import feel_pulse, wait_server_ready
from nodeagent.replica_folder import ReadyLine, ReplicaFolder
from nodeagent.server_process import ServerProcess, end_session, find_left

# How often the file is looked at into which a server writes that it listens: a spare does so within some hundredths of
# a second, and of a start that takes long a little more is no loss.
_READY_POLL_FIRST_S, _READY_POLL_LAST_S, _READY_POLL_SHARE = 0.005, 0.1, 20

log = logging.getLogger(__name__)

Tell = Callable[[events.Event], None]


@dataclass(frozen=True)
class ServerFacts:
    """What the agent decided of a server when it launched it.

    `canary_token`: what makes a request a probe to it. `planned_port`: where it will listen; 0: it says so itself.
    """

    host: str
    canary_token: str
    runtime: str = ""
    planned_port: int = 0
    metrics_port: int = 0


class RunningServer:
    def __init__(
        self,
        process: ServerProcess,
        folder: ReplicaFolder,
        facts: ServerFacts,
        launch: int,
        tell: Tell,
        *,
        explain_exit: Callable[[int, str], str],
        count_oom_kills: Callable[[], int],
        take_off_gpu: Callable[[], Awaitable[None]],
        pulse_interval_s: float,
    ) -> None:
        """Tells of its end from now on. `launch`: the number that the news are marked with.

        `explain_exit`: its runtime's. `count_oom_kills`: of its processes; blocking. `take_off_gpu`: what it started,
        before that is killed.
        """
        self.identity = process.identity
        self.marker = process.marker
        self.facts = facts
        # Where it tells its metrics; 0: nowhere, or not known yet.
        self.metrics_port = facts.metrics_port
        # What it said when it was ready, and when that was seen, in seconds of the monotonic clock.
        self.ready_line: ReadyLine | None = None
        self.listening_at = 0.0
        self._process = process
        self._folder = folder
        self._launch = launch
        self._tell = tell
        self._explain_exit = explain_exit
        self._count_oom_kills = count_oom_kills
        self._take_off_gpu = take_off_gpu
        self._pulse_interval_s = pulse_interval_s
        self._is_killed = False
        self._prober: Prober | None = None
        self._memory: MemoryWatch | None = None
        self._watches: set[asyncio.Task[None]] = set()
        self._watch(self._tell_exit())

    def await_listening(self) -> None:
        """Tells its port once it is known, and its pulse from then on."""
        self._watch(self._tell_listening())

    def watch_pulse(self, port: int) -> None:
        """For one that listens already."""
        self._watch(self._tell_pulse(port))

    def watch_memory(self, memory: MemoryWatch, given_bytes: int, *, is_stated: bool) -> None:
        self._memory = memory
        # A server leads its session: what it starts belongs to that.
        memory.follow(
            self.identity.pid,
            lambda used_bytes: self._tell(events.MemoryRead(self._launch, used_bytes, given_bytes, is_stated)),
        )

    def probe(self, make_prober: Callable[[], Prober], timeout_s: float) -> None:
        self._watch(self._tell_probe(make_prober, timeout_s))

    def send_signal(self, number: signal.Signals) -> None:
        self._is_killed = self._is_killed or number is signal.SIGKILL
        self._process.send_signal(number)

    async def let_go(self) -> None:
        """Ends the watching; a process that still lives is left as it is."""
        if self._memory:
            self._memory.leave(self.identity.pid)
        for task in self._watches:
            task.cancel()
        # The descriptor may be closed only after nothing waits on it: its number is soon another file's.
        await asyncio.gather(*self._watches, return_exceptions=True)
        if self._prober:
            await self._prober.close()
        self._process.close()

    def _watch(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._watches.add(task)
        task.add_done_callback(self._watches.discard)

    async def _tell_exit(self) -> None:
        code = await self._process.wait()
        try:
            reason = await self._explain(code)
        except Exception as error:  # an end that nobody told would keep the replica from ever starting again
            log.exception("why process %d ended cannot be told", self.identity.pid)
            reason = f"its process ended, and why cannot be told: {error}"
        self._tell(events.Exited(self._launch, reason))

    async def _explain(self, code: int | None) -> str:
        await self._end_left()
        log_tail = self._folder.log_tail()
        explained = self._explain_exit(code, log_tail) if code is not None else ""
        oom_kills = await asyncio.to_thread(self._count_oom_kills)
        return describe_ending(Ending(code, log_tail, self._is_killed, oom_kills, explained))

    async def _end_left(self) -> None:
        if not await asyncio.to_thread(find_left, self.identity, self.marker):
            return
        await self._take_off_gpu()
        left = await asyncio.to_thread(end_session, self.identity, self.marker)
        log.info("ended %s, which process %d had started and left behind", left, self.identity.pid)

    async def _tell_listening(self) -> None:
        if planned := self.facts.planned_port:
            await wait_server_ready(self.facts.host, planned)
            self._folder.write_ready(planned)
        began = time.monotonic()
        while not (ready := self._folder.read_ready()):
            pause_s = (time.monotonic() - began) / _READY_POLL_SHARE
            await asyncio.sleep(min(max(pause_s, _READY_POLL_FIRST_S), _READY_POLL_LAST_S))
        self.metrics_port = ready.metrics_port or self.metrics_port
        self.ready_line, self.listening_at = ready, time.monotonic()
        self._tell(events.Listening(self._launch, ready.port))
        await self._tell_pulse(ready.port)

    async def _tell_pulse(self, port: int) -> None:
        pid = self.identity.pid
        try:
            async with aclosing(feel_pulse(pid, self.facts.host, port, self._pulse_interval_s)) as pulse:
                async for idle in pulse:
                    self._tell(
                        events.NoPulse(self._launch, idle.thread_states, idle.cpu_share)
                        if idle
                        else events.Pulse(self._launch)
                    )
        except (psutil.NoSuchProcess, FileNotFoundError):
            return  # its end is told as such
        except Exception:
            log.exception("the pulse of process %d cannot be felt any more: probes alone watch it", pid)

    async def _tell_probe(self, make_prober: Callable[[], Prober], timeout_s: float) -> None:
        try:
            self._prober = self._prober or make_prober()
            self._tell(events.ProbeOk(self._launch, await self._prober.probe(timeout_s)))
        except CanaryError as error:
            self._tell(events.ProbeFailed(self._launch, str(error)))
        except Exception as error:  # a probe without an answer would be the last one
            log.exception("a probe of process %d broke", self.identity.pid)
            self._tell(events.ProbeFailed(self._launch, f"the probe itself broke: {error}"))
