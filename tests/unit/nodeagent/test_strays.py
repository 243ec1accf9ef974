"""What an earlier agent left without a record is ended all at once."""

import asyncio
from collections.abc import Collection

import pytest

from modelyard.processes import ProcessIdentity
from nodeagent import server_process
from nodeagent.devices.gpu_access import NoGpus
from nodeagent.replica_spec import GpuShare
from nodeagent.supervisor import _end_strays

# Numbers that Linux gives to no process: they are gone at once.
STRAYS = [ProcessIdentity((1 << 22) + number, 1.0) for number in range(3)]


class SlowGpus(NoGpus):
    """Takes nobody off a GPU before all have asked for it."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.met = asyncio.Barrier(len(STRAYS))

    async def end_client(self, share: GpuShare | None, pid: int) -> None:
        self.asked.append(pid)
        await self.met.wait()


async def test_none_waits_for_the_other_to_leave_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(_replicas: str, _known: Collection[int]) -> list[ProcessIdentity]:
        return STRAYS

    monkeypatch.setattr(server_process, "find_marked", find)
    gpus = SlowGpus()
    async with asyncio.timeout(10):
        await _end_strays("replicas", set(), gpus)
    assert gpus.asked == [stray.pid for stray in STRAYS]
