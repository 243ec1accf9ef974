"""Shares of this host's GPUs: whole ones as they are, parts of them through an MPS daemon for each GPU.

One daemon for each: a fault on one GPU keeps new clients off every other that the same daemon serves.
"""

import asyncio
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from modelyard.errors import FailedPreconditionError
from nodeagent.devices.gpu_access import Lose
from nodeagent.devices.gpu_environment import exclusive_environment, share_environment
from nodeagent.devices.gpu_shares import WHOLE
from nodeagent.devices.mps_control import PROGRAM
from nodeagent.devices.mps_daemon import MpsDaemon, MpsTimes
from nodeagent.devices.mps_folders import choose_folders
from nodeagent.devices.mps_process import read_record
from nodeagent.devices.mps_service import MpsService
from nodeagent.devices.mps_state import MpsLimits
from nodeagent.replica_spec import GpuShare


class MpsAccess:
    """`gpus`: the UUIDs of those that are offered. `folder`: where the daemons keep their things."""

    def __init__(self, gpus: Collection[str], folder: Path, limits: MpsLimits, times: MpsTimes) -> None:
        # Called whenever `why_unusable` of one of them has changed.
        self.on_change: Callable[[], None] = lambda: None
        self._offered = frozenset(gpus)
        self._folder = folder
        self._limits, self._times = limits, times
        self._services = {uuid: self._make_service(uuid) for uuid in gpus}
        # By replica, what it has joined.
        self._joined: dict[str, MpsService] = {}

    def adopt(self) -> None:
        """Takes over what an earlier agent left running, on GPUs that are not offered any more as well."""
        left = {uuid for record in self._folder.glob("*.daemon") if (uuid := read_record(record).uuid)}
        for uuid in left:
            if uuid not in self._services:
                self._services[uuid] = self._make_service(uuid)
        for service in self._services.values():
            service.adopt()

    def why_unusable(self, uuid: str) -> str:
        """Why no share of this GPU can be had, as its daemon's last tries have shown; "" where they can be."""
        return self._services[uuid].why_unusable

    async def open(self, replica_id: str, share: GpuShare, lose: Lose) -> Mapping[str, str]:
        service = self._services.get(share.uuid)
        if service is None or share.uuid not in self._offered:
            raise FailedPreconditionError(f"GPU {share.uuid} is not offered by this node's agent")
        if share.percent == WHOLE:
            await service.vacate()
            return exclusive_environment(share.uuid)
        self._joined[replica_id] = service
        return share_environment(share, await service.join(replica_id, lose))

    def resume(self, replica_id: str, share: GpuShare, lose: Lose) -> None:
        if share.percent == WHOLE:
            return  # it needs nothing of this agent: whether its GPU is to be had at all others see
        service = self._services.get(share.uuid)
        if service is None:
            lose(f"GPU {share.uuid} is not offered here any more")
        else:
            self._joined[replica_id] = service
            service.find(replica_id, lose)

    async def end_client(self, share: GpuShare | None, pid: int) -> None:
        if share and share.percent == WHOLE:
            return
        services = [service for uuid, service in self._services.items() if share is None or uuid == share.uuid]
        await asyncio.gather(*(service.end_client(pid) for service in services))

    def close(self, replica_id: str) -> None:
        if service := self._joined.pop(replica_id, None):
            service.leave(replica_id)

    async def stop(self) -> None:
        """Ends all daemons; their clients have ended before."""
        await asyncio.gather(*(service.stop() for service in self._services.values()))

    async def let_go(self) -> None:
        """Leaves all daemons to the next agent."""
        await asyncio.gather(*(service.let_go() for service in self._services.values()))

    def _note_change(self) -> None:
        self.on_change()

    def _make_service(self, uuid: str) -> MpsService:
        folders = choose_folders(self._folder, uuid)
        record = self._folder / f"{folders.log.parent.name}.daemon"
        daemon = MpsDaemon(shutil.which(PROGRAM) or PROGRAM, uuid, folders, record, self._times)
        return MpsService(uuid, daemon, self._limits, self._note_change)
