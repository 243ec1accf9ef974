"""How a replica's process gets its share of a GPU, and gives it back."""

from collections.abc import Mapping
from typing import Protocol

from modelyard.errors import FailedPreconditionError
from nodeagent.replica_spec import GpuShare


class GpuAccess(Protocol):
    """For one event loop."""

    async def open(self, replica_id: str, share: GpuShare) -> Mapping[str, str]:
        """The environment that gives a process this share and no more; what it needs is started first.

        Raises YardError, with the reason, where the share cannot be had now.
        """

    async def end_client(self, share: GpuShare, pid: int) -> None:
        """Takes the process off the GPU, so that killing it harms nobody else there. Returns soon, whatever happens."""

    def close(self, replica_id: str) -> None:
        """Its process has ended."""


class NoGpus:
    """Of a host that offers none."""

    async def open(self, replica_id: str, share: GpuShare) -> Mapping[str, str]:
        raise FailedPreconditionError(f"{replica_id} is to have a share of GPU {share.uuid}, which is not here")

    async def end_client(self, share: GpuShare, pid: int) -> None:
        pass

    def close(self, replica_id: str) -> None:
        pass
