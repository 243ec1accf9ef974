"""Keeps one Envoy serving: adopts a running one, replaces one that was started otherwise, restarts a dead one."""

import asyncio
import contextlib
import logging
import subprocess
from collections.abc import Iterable

from modelyard.backoff import Backoff
from modelyard.errors import FailedPreconditionError, InternalError, YardError
from router.ads.hub import Hub
from router.envoy.process import DRAIN_TIME_S, EnvoyFolders, EnvoyProcess, EnvoySpec, launch

log = logging.getLogger(__name__)

_POLL_S = 0.1
_START_TIMEOUT_S = 30.0
_ADOPT_TIMEOUT_S = 10.0  # it asks for its resources again at most a second after the server is there
_MAX_LOG_BYTES = 16 << 20
_LONGEST_BACKOFF_S = 5.0
_STEADY_S = 10.0  # an Envoy that lived so long did not die of its start


class Supervisor:
    """`found` are the Envoys that earlier router processes left."""

    def __init__(
        self,
        hub: Hub,
        spec: EnvoySpec,
        folders: EnvoyFolders,
        found: Iterable[EnvoyProcess],
        *,
        drain_timeout_s: float,
    ) -> None:
        self._hub = hub
        self._spec = spec
        self._folders = folders
        self._drain_timeout_s = drain_timeout_s
        self._found = list(found)
        self._log_start = 0  # where the log of the Envoy that was started last begins, in bytes
        self._serving: EnvoyProcess | None = None
        self._draining: dict[EnvoyProcess, asyncio.Task[None]] = {}
        self._children: dict[EnvoyProcess, subprocess.Popen[bytes]] = {}

    async def start(self) -> None:
        """Returns when an Envoy listens: the one that an earlier router process left, if it fits, else a new one.

        Others serve until then. Raises FailedPreconditionError or InternalError where none can be brought up.
        """
        if not await self._adopt():
            await self._launch()
        self._retire_found()

    async def run(self) -> None:
        """Restarts Envoy whenever it dies; runs until it is cancelled."""
        backoff = Backoff(longest_s=_LONGEST_BACKOFF_S)
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            if self._serving:
                await self._wait_death(self._serving)
                log.error("Envoy died; starting it again", extra=_pid(self._serving))
                self._forget(self._serving)
            if loop.time() - started > _STEADY_S:
                backoff.reset()
            await asyncio.sleep(backoff.next_s())
            try:
                await self._launch()
            except YardError as error:
                log.error(error.message)

    async def stop(self) -> None:
        """Drains and ends all Envoys; nothing of them stays."""
        if self._serving:
            self._found.append(self._serving)
            self._serving = None
        self._retire_found()
        while self._draining:
            await asyncio.wait(self._draining.values())

    async def _adopt(self) -> bool:
        for process in self._found:
            if not process.matches(self._spec):
                continue
            try:
                await self._wait_serving(process, _ADOPT_TIMEOUT_S)
            except InternalError as error:
                log.warning(error.message, extra=_pid(process))
                continue
            log.info("adopted the running Envoy", extra=_pid(process))
            self._serving = process
            self._found.remove(process)
            return True
        return False

    async def _launch(self) -> None:
        log_path = self._folders.log
        self._log_start = log_path.stat().st_size if log_path.exists() else 0
        try:
            process, child = launch(self._spec, self._folders)
        except OSError as error:
            raise FailedPreconditionError(f"cannot run Envoy: {error}; name another with --envoy PATH") from error
        self._children[process] = child
        self._serving = process
        try:
            await self._wait_serving(process, _START_TIMEOUT_S)
        except InternalError:
            await process.identity.stop(grace_s=1.0)
            raise
        log.info("Envoy serves", extra={**_pid(process), "port": process.listen_port})

    async def _wait_serving(self, process: EnvoyProcess, timeout_s: float) -> None:
        """Until it listens with the present resources; from then on nothing is applied before it has it."""
        try:
            async with asyncio.timeout(timeout_s):
                while not (self._hub.has_applied_all(process.node_id) and await _is_serving(process)):
                    if not process.identity.is_alive():
                        raise self._failure("ended during its start")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise self._failure(f"does not serve after {timeout_s:.0f} s") from None
        self._hub.add_data_plane(process.node_id)

    def _failure(self, what: str) -> InternalError:
        log_path = self._folders.log
        said = log_path.read_bytes()[self._log_start :].decode(errors="replace") if log_path.exists() else ""
        reason = self._hub.applied.error or " | ".join(said.splitlines()[-5:]) or "it said nothing"
        return InternalError(f"Envoy {what}: {reason}; all that it said is in {log_path}")

    async def _wait_death(self, process: EnvoyProcess) -> None:
        while process.identity.is_alive():
            await self._bound_log(process)
            await asyncio.sleep(_POLL_S)

    async def _bound_log(self, process: EnvoyProcess) -> None:
        """Keeps one old log file."""
        path = self._folders.log
        if path.exists() and path.stat().st_size > _MAX_LOG_BYTES:
            path.replace(path.with_name(f"{path.name}.1"))
            with contextlib.suppress(OSError):
                await process.admin.reopen_logs()

    def _retire_found(self) -> None:
        while self._found:
            self._retire(self._found.pop())

    def _retire(self, process: EnvoyProcess) -> None:
        """Drains and ends it in the background. Until it is gone it routes, and counts.

        Where another has taken over, its listener is given the time to close: connections may still come to it.
        """
        log.info("draining an Envoy", extra=_pid(process))
        process.disown()
        self._hub.add_data_plane(process.node_id)
        self._draining[process] = asyncio.create_task(self._drain(process))

    async def _drain(self, process: EnvoyProcess) -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        with contextlib.suppress(OSError, ValueError):  # one that does not even answer is just ended
            await process.admin.drain_listeners()
            while loop.time() < begin + max(DRAIN_TIME_S, self._drain_timeout_s):
                activity = await process.admin.read_activity()
                is_closed = not activity.connections or loop.time() > begin + DRAIN_TIME_S
                if not activity.requests and (is_closed or not self._serving):
                    break
                await asyncio.sleep(_POLL_S)
        await process.identity.stop(grace_s=2.0)
        self._forget(process)

    def _forget(self, process: EnvoyProcess) -> None:
        self._hub.remove_data_plane(process.node_id)
        if child := self._children.pop(process, None):
            child.poll()  # not wait: one that cannot be killed must not hold up the rest
        self._draining.pop(process, None)
        if self._serving == process:
            self._serving = None
        with contextlib.suppress(OSError):  # a dead disk; the next start removes them
            process.remove_files()


def _pid(process: EnvoyProcess) -> dict[str, int]:
    return {"pid": process.identity.pid}


async def _is_serving(process: EnvoyProcess) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return await process.admin.is_ready() and await process.admin.has_listener()
    return False
