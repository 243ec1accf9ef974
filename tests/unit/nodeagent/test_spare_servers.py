"""The keeping of spares, with spares that the test plays."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from nodeagent import spare_servers
from nodeagent.spare_server import SpareError, SpareKind, start_spare
from nodeagent.spare_servers import SpareServers

KIND = SpareKind.of("onnxruntime", {})


class PlayedSpare:
    pid = 1
    kind = KIND

    def __init__(self) -> None:
        self.died = asyncio.Event()
        self.ended = False

    async def wait_gone(self) -> None:
        await self.died.wait()

    async def end(self) -> None:
        for spare in STARTED:
            spare.died.set()
        for _ in range(5):
            await asyncio.sleep(0)
        self.ended = True


STARTED: list[PlayedSpare] = []


async def start_played(_kind: SpareKind, _spares: Path) -> PlayedSpare:
    STARTED.append(PlayedSpare())
    return STARTED[-1]


async def test_spares_that_die_while_they_are_ended_are_no_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    STARTED.clear()
    monkeypatch.setattr(spare_servers, "start_spare", start_played)
    spares = SpareServers(Path("spares"), 3)
    spares.want(KIND)
    async with asyncio.timeout(10):
        while len(STARTED) < 3:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        await spares.close()
        while not all(spare.ended for spare in STARTED):
            await asyncio.sleep(0)


async def test_an_agent_that_may_open_no_more_files_has_no_spare_for_now(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("socket.socketpair", refuse)
    with pytest.raises(SpareError, match="Too many open files"):
        await start_spare(KIND, Path("spares"))
