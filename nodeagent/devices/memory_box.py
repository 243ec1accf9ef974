"""What holds a replica's processes to their memory, where the host lets the agent do that."""

from collections.abc import Collection
from typing import Protocol


class MemoryBox(Protocol):
    """All of it is blocking, and may be called from any thread. Nothing here raises: a replica serves without it."""

    def put(self, replica_id: str, pid: int, limit_bytes: int) -> None:
        """The process, and what it starts from now on, gets no more than that; 0: as much as there is."""

    def oom_kills(self, replica_id: str) -> int:
        """How many of its processes the kernel ended since `put`, because they took all they were given; 0 where nobody
        counts."""

    def remove(self, replica_id: str) -> None:
        """Its process has ended; what it left running is ended too."""

    def remove_all_but(self, replica_ids: Collection[str]) -> None:
        """What an earlier agent left of replicas that are no more."""


class NoBox:
    """Where the agent may limit nothing: its memory is watched all the same."""

    def put(self, replica_id: str, pid: int, limit_bytes: int) -> None:
        pass

    def oom_kills(self, replica_id: str) -> int:
        return 0

    def remove(self, replica_id: str) -> None:
        pass

    def remove_all_but(self, replica_ids: Collection[str]) -> None:
        pass
