"""What all replicas of a node share."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nodeagent.cache import ArtifactCache
from nodeagent.devices.gpu_access import GpuAccess, NoGpus
from nodeagent.devices.memory_box import MemoryBox, NoBox
from nodeagent.ended_logs import EndedLogs
from nodeagent.memory_watch import MemoryWatch
from nodeagent.replica_state import Limits
from nodeagent.runtimes.base import Runtime
from nodeagent.spare_servers import SpareServers
from nodeagent.start_slots import StartSlots


@dataclass
class Workshop:
    """The tools that they are started, watched and ended with."""

    replicas: Path
    cache: ArtifactCache
    runtimes: Sequence[Runtime]
    limits: Limits
    max_message_bytes: int
    log_limit_bytes: int
    gpus: GpuAccess = field(default_factory=NoGpus)
    memory: MemoryWatch = field(default_factory=MemoryWatch)
    box: MemoryBox = field(default_factory=NoBox)
    spares: SpareServers = field(default_factory=lambda: SpareServers(Path(), 0))
    slots: StartSlots = field(default_factory=StartSlots)
    # Where replicas listen; "" until it is known.
    host: str = ""

    @property
    def ended_logs(self) -> EndedLogs:
        return EndedLogs(self.replicas.with_name("ended"))

    def runtime_called(self, name: str) -> Runtime:
        """The first where there is none of that name: earlier releases kept no name, and had one."""
        return next((runtime for runtime in self.runtimes if runtime.name == name), self.runtimes[0])
