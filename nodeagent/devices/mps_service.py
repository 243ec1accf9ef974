"""The MPS of one GPU: performs what its state machine commands, and tells it what happens."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from modelyard.errors import UnavailableError, YardError
from nodeagent.devices import mps_machine as machine
from nodeagent.devices import mps_state as mps
from nodeagent.devices.gpu_environment import MpsFolders
from nodeagent.devices.mps_control import MpsSilentError
from nodeagent.devices.mps_daemon import MpsDaemon

log = logging.getLogger(__name__)

Lose = Callable[[str], None]
# For a client to be taken off the GPU: whoever waits to kill it goes on then.
_END_CLIENT_S = 10.0
# For a daemon without clients to end, several steps of it included.
_REST_S = 20.0


class MpsService:
    """For one event loop. `on_change` is called whenever `why_unusable` may have changed."""

    def __init__(self, uuid: str, daemon: MpsDaemon, limits: mps.MpsLimits, on_change: Callable[[], None]) -> None:
        self._uuid = uuid
        self._daemon = daemon
        self._limits = limits
        self._on_change = on_change
        self._mps = mps.Mps()
        # Of each replica that uses it: what tells it that it lost the GPU.
        self._losers: dict[str, Lose] = {}
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._work: asyncio.Task[None] | None = None

    @property
    def why_unusable(self) -> str:
        return self._mps.why_unusable(self._limits)

    def adopt(self) -> None:
        """Takes over the daemon that an earlier agent has left, if there is one. Blocking for a moment.

        One that has ended since is found out as any other that ends, and what is left of it is removed.
        """
        if self._daemon.adopt():
            log.info("GPU %s: adopting its MPS daemon (process %d)", self._uuid, self._daemon.pid)
            self._tell(mps.Adopted())

    def find(self, replica_id: str, lose: Lose) -> None:
        """Its process was started by an earlier agent. `lose` is told why, should it have to end."""
        self._losers[replica_id] = lose
        self._tell(mps.Found(replica_id))

    async def join(self, replica_id: str, lose: Lose) -> MpsFolders:
        """Those of a daemon that runs. Raises UnavailableError with the reason where there is none to be had now."""
        self._losers[replica_id] = lose
        try:
            await self._wait_running(replica_id)
        except BaseException:
            self.leave(replica_id)
            raise
        return self._daemon.folders

    def leave(self, replica_id: str) -> None:
        if self._losers.pop(replica_id, None):
            self._tell(mps.Left(replica_id))

    async def vacate(self) -> None:
        """Ends a daemon that nobody uses: its server holds memory of the GPU."""
        self._tell(mps.Vacate())
        with suppress(TimeoutError):
            async with asyncio.timeout(_REST_S):
                while self._is_resting():
                    await self._next_change()

    async def end_client(self, leader: int) -> None:
        """Takes a process, and what it started, off the GPU, if they are there. Returns within seconds, whatever is."""
        if not self._daemon.is_alive():
            return
        try:
            async with asyncio.timeout(_END_CLIENT_S):
                await self._end_session(leader)
        except (TimeoutError, MpsSilentError) as error:
            reason = getattr(error, "message", f"no answer in {_END_CLIENT_S:g} s")
            log.warning("GPU %s: process %d is killed without leaving MPS first: %s", self._uuid, leader, reason)

    async def stop(self) -> None:
        """For good: ends the daemon."""
        await self.let_go()
        await self._daemon.stop()

    async def let_go(self) -> None:
        """For good: the daemon, if there is one, is left to the next agent."""
        if self._timer:
            self._timer.cancel()
        await _cancel(self._work)

    async def _wait_running(self, replica_id: str) -> None:
        while True:
            if replica_id not in self._mps.users:
                self._tell(mps.Joined(replica_id))
            if replica_id in self._mps.users and self._mps.state is mps.State.RUNNING:
                if self._daemon.is_alive():
                    return
                # Without one, CUDA would go on without limits.
                self._tell(mps.Broken("its MPS daemon has ended"))
            if self._mps.state is not mps.State.STARTING and not self._is_resting():
                raise UnavailableError(f"GPU {self._uuid} cannot be shared now: {self._mps.reason}")
            await self._next_change()

    def _is_resting(self) -> bool:
        """It ends because nobody used it, and starts again when it is asked to."""
        return self._mps.state is mps.State.DRAINING and not self._mps.reason

    async def _next_change(self) -> None:
        await self._changed.wait()

    async def _end_session(self, leader: int) -> None:
        control = self._daemon.control
        for server in await control.list_servers():
            for client in await control.list_clients(server):
                if _is_of_session(client, leader):
                    await control.terminate_client(server, client)

    def _tell(self, event: mps.Event) -> None:
        before = self._mps
        self._mps, commands = machine.handle(before, event, time.monotonic(), self._limits)
        self._set_timer()
        for command in commands:
            self._perform(command)
        if self._mps.state is not before.state:
            self._note_change(before)
        self._changed.set()
        self._changed = asyncio.Event()

    def _note_change(self, before: mps.Mps) -> None:
        after = self._mps
        why = f": {after.reason}" if after.reason and after.reason != before.reason else ""
        level = logging.WARNING if why else logging.INFO
        log.log(level, "GPU %s: MPS is %s%s", self._uuid, after.state, why)
        if after.why_unusable(self._limits) != before.why_unusable(self._limits):
            self._on_change()

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        if self._mps.wake_at is not None:
            delay_s = max(0.0, self._mps.wake_at - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._tell, mps.Due())

    def _perform(self, command: mps.Command) -> None:
        match command:
            case mps.Start():
                self._begin(self._start())
            case mps.Check():
                self._begin(self._check())
            case mps.Stop():
                self._begin(self._stop())
            case mps.Drain(reason):
                for replica_id in self._mps.users:
                    self._losers[replica_id](reason)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """One at a time: what was begun before is of no interest any more."""
        self._work = asyncio.create_task(_after(self._work, work))

    async def _start(self) -> None:
        try:
            await self._daemon.start()
        except (YardError, OSError) as error:
            self._tell(mps.Broken(str(error)))
        else:
            self._tell(mps.Answered())

    async def _check(self) -> None:
        try:
            await self._daemon.find_trouble()
        except MpsSilentError as error:
            self._tell(mps.Silent(error.message))
        except OSError as error:  # this host's own trouble, of which nothing is known to be wrong with the daemon yet
            self._tell(mps.Silent(str(error)))
        except YardError as error:
            self._tell(mps.Broken(error.message))
        else:
            self._tell(mps.Answered())

    async def _stop(self) -> None:
        try:
            await self._daemon.stop()
        except OSError:
            log.exception("GPU %s: ending its MPS daemon", self._uuid)
        self._tell(mps.Stopped())


async def _after(before: "asyncio.Task[None] | None", work: Coroutine[Any, Any, None]) -> None:
    try:
        await _cancel(before)
    except asyncio.CancelledError:
        work.close()
        raise
    await work


async def _cancel(task: "asyncio.Task[None] | None") -> None:
    if task:
        task.cancel()
        await asyncio.wait({task})


def _is_of_session(pid: int, leader: int) -> bool:
    """A server leads its session: what it started itself is known by it."""
    with suppress(OSError):
        return pid == leader or os.getsid(pid) == leader
    return False
