"""What this host offers to replicas."""

from collections.abc import Sequence

import psutil

from modelyard.v1 import resources_pb2
from nodeagent.devices import cpu
from nodeagent.runtimes.base import Runtime
from nodeagent.settings import AgentSettings


def take_inventory(settings: AgentSettings, runtimes: Sequence[Runtime]) -> resources_pb2.NodeResources:
    """Raises ValueError where the settings offer cores that this process cannot use."""
    return resources_pb2.NodeResources(
        cores=cpu.choose_cores(settings.cores, cpu.list_usable_cores()),
        memory_bytes=settings.memory_bytes or psutil.virtual_memory().total,
        replicas_per_core=settings.replicas_per_core,
        hardware_class=cpu.read_cpu_model(),
        formats=sorted({name for runtime in runtimes for name in runtime.formats()}),
    )
