"""The process of one GPU's MPS control daemon: it outlives this agent, and the next one finds it again.

Source of the commands and of what they wait for: nvidia-cuda-mps-control(1).
"""

import asyncio
import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from modelyard.errors import UnavailableError, YardError
from modelyard.files import write_whole
from modelyard.processes import ProcessIdentity
from modelyard.uninterrupted import run_to_end
from nodeagent.devices.gpu_environment import MpsFolders, daemon_environment, forget_mps
from nodeagent.devices.mps_control import MpsControl, MpsSilentError
from nodeagent.devices.mps_folders import OUTPUT, prepare_folders, read_last_words, remove_pipe, trim_output
from nodeagent.devices.mps_process import find_daemon, find_session, read_record

_POLL_S = 0.1
# Each step of ending a daemon: to let its clients finish, to end without them, to end at all.
_QUIT_S = 2
_DEATH_S = 3.0


@dataclass(frozen=True)
class MpsTimes:
    """In seconds: for a daemon to take its first command, and for the answer to one."""

    start_s: float = 20.0
    answer_s: float = 5.0


class MpsDaemon:
    """`program` is nvidia-cuda-mps-control, `record` a file that remembers the process."""

    def __init__(self, program: str, uuid: str, folders: MpsFolders, record: Path, times: MpsTimes) -> None:
        self.folders = folders
        self._uuid = uuid
        self._program = program
        self._record = record
        self._times = times
        self._environment = {**os.environ}
        forget_mps(self._environment)
        self._environment.update(daemon_environment(uuid, folders))
        self._identity: ProcessIdentity | None = None
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def control(self) -> MpsControl:
        return MpsControl(self._program, self._environment, self._times.answer_s)

    @property
    def pid(self) -> int:
        """0: it does not run."""
        return self._identity.pid if self._identity and self.is_alive() else 0

    def is_alive(self) -> bool:
        is_alive = bool(self._identity and self._identity.is_alive())
        if self._child:
            self._child.poll()  # one that has ended is not to stay a zombie; asked last, so that its code is known then
        return is_alive

    def adopt(self) -> bool:
        """Whether an earlier agent has started one; it is this one's now, though it may have ended. Blocking."""
        self._identity = read_record(self._record).identity
        if self._identity is None and self.folders.pipe.exists():
            self._identity = find_daemon(self.folders.pipe)
        return self._identity is not None

    async def start(self) -> None:
        """Returns when it answers. Raises YardError, with its last words; then nothing of it is left."""
        try:
            # Cut off, it would go on, and nobody would know of what it starts.
            await run_to_end(asyncio.to_thread(self._spawn))
            async with asyncio.timeout(self._times.start_s):
                await self._wait_answering()
        except TimeoutError:
            await self.stop()
            raise UnavailableError(f"it did not answer in {self._times.start_s:g} s{self._last_words()}") from None
        except OSError as error:
            await self.stop()
            raise UnavailableError(f"{self._program} cannot be started: {error.strerror or error}") from error
        except YardError:
            await self.stop()
            raise

    async def find_trouble(self) -> None:
        """Raises MpsSilentError where it does not answer, UnavailableError where it cannot go on as it is."""
        trim_output(self.folders)
        if not self.is_alive():
            raise UnavailableError(f"its MPS daemon has ended{self._tell_code()}")
        for server in await self.control.list_servers():
            if await self.control.is_faulty(server):
                raise UnavailableError("its MPS server is in the state FAULT: a client of it has broken the context")

    async def stop(self) -> None:
        """Ends it and its servers, whatever state they are in, within some seconds."""
        if self.is_alive():
            await self._quit()
        if self._identity:
            for identity in await asyncio.to_thread(find_session, self._identity, self.folders.pipe):
                await identity.stop(_DEATH_S)
        if self._child:
            self._child.poll()
        self._identity = self._child = None
        self._record.unlink(missing_ok=True)
        await asyncio.to_thread(remove_pipe, self.folders)

    def _spawn(self) -> None:
        prepare_folders(self.folders)
        with (self.folders.log / OUTPUT).open("ab") as output:
            self._child = subprocess.Popen(
                [self._program, "-f"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                start_new_session=True,
            )
        try:
            self._identity = ProcessIdentity.of(self._child.pid)
        except psutil.NoSuchProcess:
            raise UnavailableError(f"it ended at once{self._last_words()}") from None
        write_whole(self._record, f"{self._uuid} {self._identity.pid} {self._identity.start_time}\n".encode())

    async def _wait_answering(self) -> None:
        while True:
            if not self.is_alive():
                raise UnavailableError(f"it ended{self._tell_code()}{self._last_words()}")
            with suppress(MpsSilentError):
                await self.control.list_servers()
                return
            await asyncio.sleep(_POLL_S)

    async def _quit(self) -> None:
        """As it is asked to end, and if it does not, with less and less patience."""
        for wait_s in (None, _QUIT_S):
            with suppress(MpsSilentError):
                await self.control.quit(wait_s)
            if self._identity and await self._identity.wait_gone(1.0):
                return

    def _tell_code(self) -> str:
        """Of one that ended; an earlier agent's child told that to nobody."""
        code = self._child.returncode if self._child else None
        return "" if code is None else f" with code {code}" if code >= 0 else f", killed by signal {-code}"

    def _last_words(self) -> str:
        words = read_last_words(self.folders)
        return f": {words}" if words else ""
