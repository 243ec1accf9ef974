"""The process of one launch, and all that watches it."""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import psutil

from nodeagent import replica_events as events
from nodeagent.canary import CanaryError, Prober
from nodeagent.pulse import feel_pulse, wait_server_ready
from nodeagent.replica_folder import ReplicaFolder
from nodeagent.server_process import ServerProcess, describe_exit

# How often the file is looked at into which a server writes that it listens.
_READY_POLL_S = 0.02
_PULSE_S = 1.0

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
    ) -> None:
        """Tells of its end from now on. `launch`: the number that the news are marked with.

        `explain_exit`: its runtime's.
        """
        self.identity = process.identity
        self.facts = facts
        # Where it tells its metrics; 0: nowhere, or not known yet.
        self.metrics_port = facts.metrics_port
        self._process = process
        self._folder = folder
        self._launch = launch
        self._tell = tell
        self._explain_exit = explain_exit
        self._prober: Prober | None = None
        self._watches: set[asyncio.Task[None]] = set()
        self._watch(self._tell_exit())

    def await_listening(self) -> None:
        """Tells its port once it is known, and its pulse from then on."""
        self._watch(self._tell_listening())

    def watch_pulse(self, port: int) -> None:
        """For one that listens already."""
        self._watch(self._tell_pulse(port))

    def probe(self, make_prober: Callable[[], Prober], timeout_s: float) -> None:
        self._watch(self._tell_probe(make_prober, timeout_s))

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def let_go(self) -> None:
        """Ends the watching; a process that still lives is left as it is."""
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
        reason = describe_exit(code, self._folder.last_log_line())
        if code is not None and (cause := self._explain_exit(code, self._folder.log_tail())):
            reason = f"{cause} ({reason})"
        self._tell(events.Exited(self._launch, reason))

    async def _tell_listening(self) -> None:
        if planned := self.facts.planned_port:
            await wait_server_ready(self.facts.host, planned)
            self._folder.write_ready(planned)
        while not (ready := self._folder.read_ready()):
            await asyncio.sleep(_READY_POLL_S)
        self.metrics_port = ready.metrics_port or self.metrics_port
        self._tell(events.Listening(self._launch, ready.port))
        await self._tell_pulse(ready.port)

    async def _tell_pulse(self, port: int) -> None:
        pid = self.identity.pid
        try:
            async with aclosing(feel_pulse(pid, self.facts.host, port, _PULSE_S)) as pulse:
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
