"""Questions and orders to one MPS control daemon, through NVIDIA's program for that.

Source: nvidia-cuda-mps-control(1), and "Multi-Process Service", https://docs.nvidia.com/deploy/mps. Each command goes
to the standard input of a program of its own, so that none waits behind one that hangs.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from modelyard.errors import UnavailableError

log = logging.getLogger(__name__)

PROGRAM = "nvidia-cuda-mps-control"
# For a killed process to be gone: one that waits in the driver may take for ever, and nobody waits that long for it.
_DEATH_S = 1.0
_POLL_S = 0.1
_LET_GO_POLLS = 10


class MpsSilentError(UnavailableError):
    """The daemon did not answer, or refused the command."""


@dataclass(frozen=True)
class MpsControl:
    """`environment` leads to the daemon; see `daemon_environment`. Each command has `timeout_s` seconds."""

    program: str
    environment: Mapping[str, str]
    timeout_s: float

    async def list_servers(self) -> list[int]:
        """Their pids: none before the first client has come. Raises MpsSilentError, as all of these do."""
        return _parse_pids(await self._ask("get_server_list"))

    async def is_faulty(self, server: int) -> bool:
        """Whether a client has broken it: then it takes no new one before all that it has are gone."""
        return "FAULT" in (await self._ask(f"get_server_status {server}")).upper()

    async def list_clients(self, server: int) -> list[int]:
        return _parse_pids(await self._ask(f"get_client_list {server}"))

    async def terminate_client(self, server: int, client: int) -> None:
        """Ends its work on the GPU, so that killing it does no harm; waits a little for the server to let go of it."""
        answer = await self._ask(f"terminate_client {server} {client}")
        if answer.strip() not in ("", "0"):  # a CUresult; 0 is success
            log.warning("MPS server %d says of terminating client %d: %s", server, client, answer.strip()[:200])
        for _ in range(_LET_GO_POLLS):  # a server in the state FAULT may never do so
            if client not in await self.list_clients(server):
                return
            await asyncio.sleep(_POLL_S)

    async def quit(self, wait_s: int | None = None) -> None:
        """Ends the daemon and its servers; returns when it has ended.

        Without `wait_s` they wait for their clients, with it only for so many seconds.
        """
        await self._ask("quit" if wait_s is None else f"quit -t {wait_s}", more_s=wait_s or 0)

    async def _ask(self, command: str, more_s: float = 0.0) -> str:
        """What the daemon says to it."""
        try:
            process = await asyncio.create_subprocess_exec(
                self.program,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=self.environment,
            )
        except OSError as error:
            raise MpsSilentError(f"{self.program} cannot be run: {error.strerror}") from error
        try:
            async with asyncio.timeout(self.timeout_s + more_s):
                output, _ = await process.communicate(f"{command}\n".encode())
        except TimeoutError:
            limit_s = self.timeout_s + more_s
            raise MpsSilentError(f"the MPS daemon did not answer {command!r} in {limit_s:g} s") from None
        finally:
            await _end(process)
        text = output.decode(errors="replace")
        if process.returncode:
            raise MpsSilentError(f"the MPS daemon cannot be asked {command!r}: {' '.join(text.split())[:300]}")
        return text


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _DEATH_S)


def _parse_pids(text: str) -> list[int]:
    """One a line; whatever else it says is no pid."""
    return [int(word) for word in text.split() if word.isdigit()]
