"""What this host offers to replicas."""

from collections.abc import Sequence

import psutil

from modelyard.v1 import resources_pb2
from nodeagent.devices import cpu
from nodeagent.runtimes.base import Runtime, RuntimeOffer
from nodeagent.settings import AgentSettings


def take_inventory(settings: AgentSettings, runtimes: Sequence[Runtime]) -> resources_pb2.NodeResources:
    """Raises ValueError where the settings offer cores that this process cannot use."""
    offers = {runtime.name: runtime.offer() for runtime in runtimes}
    return resources_pb2.NodeResources(
        cores=cpu.choose_cores(settings.cores, cpu.list_usable_cores()),
        memory_bytes=settings.memory_bytes or psutil.virtual_memory().total,
        replicas_per_core=settings.replicas_per_core,
        hardware_class=cpu.read_cpu_model(),
        formats=sorted({name for offer in offers.values() for name in offer.cpu_formats}),
        runtimes=[_offer_to_proto(name, offer) for name, offer in offers.items()],
    )


def _offer_to_proto(name: str, offer: RuntimeOffer) -> resources_pb2.RuntimeOffer:
    return resources_pb2.RuntimeOffer(
        name=name,
        version=offer.version,
        cpu_formats=sorted(offer.cpu_formats),
        gpu_formats=sorted(offer.gpu_formats),
    )
