"""How a replica's process gets its share of a GPU, and gives it back."""

from collections.abc import Callable, Mapping
from typing import Protocol

from modelyard.errors import FailedPreconditionError
from nodeagent.replica_spec import GpuShare

# Told why a replica cannot keep its share: its process is to finish and to end.
Lose = Callable[[str], None]


class GpuAccess(Protocol):
    """For one event loop."""

    async def open(self, replica_id: str, share: GpuShare, lose: Lose) -> Mapping[str, str]:
        """The environment that gives a process this share and no more; what it needs is started first.

        Raises YardError, with the reason, where the share cannot be had now.
        """

    def resume(self, replica_id: str, share: GpuShare, lose: Lose) -> None:
        """In place of `open` where an earlier agent has started its process."""

    async def end_client(self, share: GpuShare | None, pid: int) -> None:
        """Takes the process and what it started off the GPU, so that killing them harms nobody else there.

        Returns soon, whatever happens. None: nobody knows of which GPU it has a share.
        """

    def close(self, replica_id: str) -> None:
        """Its process has ended, or was not started. Told once too often it does no harm."""


class NoGpus:
    """Of a host that offers none."""

    async def open(self, replica_id: str, share: GpuShare, lose: Lose) -> Mapping[str, str]:
        raise FailedPreconditionError(f"{replica_id} is to have a share of GPU {share.uuid}, which is not here")

    def resume(self, replica_id: str, share: GpuShare, lose: Lose) -> None:
        lose(f"GPU {share.uuid} is not offered here any more")

    async def end_client(self, share: GpuShare | None, pid: int) -> None:
        pass

    def close(self, replica_id: str) -> None:
        pass
