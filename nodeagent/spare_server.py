"""One model server that waits to be told what to serve (nodeagent.modelserver.spare has the protocol)."""

import asyncio
import json
import secrets
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.uninterrupted import run_to_end
from nodeagent import server_process
from nodeagent.devices.gpu_environment import NO_GPU
from nodeagent.replica_folder import ReplicaFolder
from nodeagent.runtimes.builtin import SERVER
from nodeagent.server_process import LaunchPlan, ServerProcess

# At a low priority on a busy host the imports may take long.
_READY_TIMEOUT_S = 120.0
_HAND_OVER_TIMEOUT_S = 2.0
_END_TIMEOUT_S = 2.0


class SpareError(Exception):
    """Why a spare is of no use, in a sentence."""


@dataclass(frozen=True)
class SpareKind:
    """What a spare has imported, and the environment that had to be there when it did."""

    library: str
    environment: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, library: str, environment: Mapping[str, str]) -> "SpareKind":
        return cls(library, tuple(sorted(environment.items())))


class SpareServer:
    """Made by `start_spare`; whoever has it hands it over or ends it."""

    def __init__(self, kind: SpareKind, folder: ReplicaFolder, line: socket.socket) -> None:
        self.kind = kind
        self._folder = folder
        self._line = line
        self._ready_fd = -1
        self._process: ServerProcess | None = None

    def launch(self, stdin: socket.socket) -> None:
        """Blocking. Raises OSError."""
        self._folder.prepare()
        environment = {**NO_GPU, **dict(self.kind.environment)}
        plan = LaunchPlan(self._folder, self._command, environment, (), stdin.fileno())
        self._process = server_process.launch(plan)

    @property
    def pid(self) -> int:
        return self._process.identity.pid if self._process else 0

    def _command(self, ready_fd: int) -> Sequence[str]:
        self._ready_fd = ready_fd
        return [*SERVER, "--spare", self.kind.library]

    async def wait_ready(self) -> None:
        """Until it has imported everything. Raises SpareError."""
        if not (await self._hear(_READY_TIMEOUT_S)).get("ready"):
            raise SpareError(f"it did not become ready: {self._folder.last_log_line() or 'it said nothing'}")

    async def wait_gone(self) -> None:
        """Until it dies, as it should not."""
        await asyncio.get_running_loop().sock_recv(self._line, 1)

    async def hand_over(self, plan: LaunchPlan) -> ServerProcess:
        """Makes it the server of a replica, whose folder is prepared. Raises SpareError; then it must be ended."""
        process = self._process
        if process is None:
            raise SpareError("it was not started")
        orders = {
            "arguments": list(plan.command(self._ready_fd))[len(SERVER) :],
            "environment": dict(plan.environment),
            "cores": list(plan.cores),
            "folder": str(plan.folder.path),
        }
        try:
            await asyncio.to_thread(plan.folder.take_over, self._folder)
            await asyncio.to_thread(plan.enclose, process.identity.pid)
            async with asyncio.timeout(_HAND_OVER_TIMEOUT_S):
                await asyncio.get_running_loop().sock_sendall(self._line, json.dumps(orders).encode() + b"\n")
        except OSError as error:  # TimeoutError is one, which says nothing
            raise SpareError(str(error) or "it did not take its orders") from error
        if reason := (await self._hear(_HAND_OVER_TIMEOUT_S)).get("error", "it did not answer"):
            raise SpareError(reason)
        self._line.close()
        self._process = None
        return process

    async def end(self) -> None:
        """Kills it; nothing of it is left."""
        self._line.close()
        process, self._process = self._process, None
        if process:
            process.send_signal(signal.SIGKILL)
            try:
                async with asyncio.timeout(_END_TIMEOUT_S):  # what waits for a disk dies when the disk answers
                    await process.wait()
            except TimeoutError:
                pass
            process.close()
        await asyncio.to_thread(self._folder.remove)

    async def _hear(self, timeout_s: float) -> dict[str, Any]:
        """The next line; empty where none comes."""
        line = b""
        try:
            async with asyncio.timeout(timeout_s):
                while not line.endswith(b"\n"):
                    chunk = await asyncio.get_running_loop().sock_recv(self._line, 1 << 12)
                    if not chunk:
                        return {}
                    line += chunk
        except (TimeoutError, OSError):
            return {}
        return dict(json.loads(line))


async def start_spare(kind: SpareKind, spares: Path) -> SpareServer:
    """One that has imported everything. Raises SpareError."""
    try:
        ours, theirs = socket.socketpair()
    except OSError as error:
        raise SpareError(str(error)) from error
    ours.setblocking(False)
    spare = SpareServer(kind, ReplicaFolder(spares / secrets.token_hex(8)), ours)
    try:
        with theirs:
            await run_to_end(asyncio.to_thread(spare.launch, theirs))
        await spare.wait_ready()
    except OSError as error:
        await spare.end()
        raise SpareError(str(error)) from error
    except BaseException:
        await spare.end()
        raise
    return spare
