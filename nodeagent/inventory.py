"""What this host offers to replicas."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace

from modelyard.sizes import format_size
from modelyard.v1 import resources_pb2
from nodeagent.devices import cpu
from nodeagent.devices.cpu_offer import CpuOffer, compute_offer, read_host
from nodeagent.devices.gpu_selection import Selection
from nodeagent.gpu_inventory import tell_gpus
from nodeagent.runtimes.base import Runtime, RuntimeOffer
from nodeagent.settings import AgentSettings

log = logging.getLogger(__name__)


def take_inventory(
    settings: AgentSettings, runtimes: Sequence[Runtime], gpus: Selection, mps_reason: str = ""
) -> resources_pb2.NodeResources:
    """`mps_reason`: why GPUs cannot be shared here; empty: they can.

    Raises ValueError where the settings offer cores that this process cannot use, or memory that it may not have.
    """
    host = compute_offer(read_host(), settings.cores, settings.memory_bytes)
    _log_offer(host)
    found_gpus = tell_gpus(gpus, settings, mps_reason)
    offers = _list_offers(runtimes, has_gpus=bool(found_gpus.gpus))
    resources = resources_pb2.NodeResources(
        cores=host.cores,
        topology=[resources_pb2.CpuCore(**asdict(core)) for core in host.topology],
        memory_bytes=host.memory_bytes,
        replicas_per_core=settings.replicas_per_core,
        hardware_class=cpu.read_cpu_model(),
        formats=sorted({name for offer in offers.values() for name in offer.cpu_formats}),
        runtimes=[_offer_to_proto(name, offer) for name, offer in offers.items()],
    )
    resources.MergeFrom(found_gpus)
    return resources


def _log_offer(offer: CpuOffer) -> None:
    why = f", less than the host has: {'; '.join(offer.reasons)}" if offer.reasons else ""
    log.info("offering cores %s and %s%s", cpu.format_cores(offer.cores), format_size(offer.memory_bytes), why)
    for warning in offer.warnings:
        log.warning("%s", warning)


def _list_offers(runtimes: Sequence[Runtime], *, has_gpus: bool) -> dict[str, RuntimeOffer]:
    """Of those that can serve anything here."""
    offers = {runtime.name: runtime.offer() for runtime in runtimes}
    if not has_gpus:
        offers = {name: replace(offer, gpu_formats=frozenset()) for name, offer in offers.items()}
    return {name: offer for name, offer in offers.items() if offer.cpu_formats or offer.gpu_formats}


def _offer_to_proto(name: str, offer: RuntimeOffer) -> resources_pb2.RuntimeOffer:
    return resources_pb2.RuntimeOffer(
        name=name,
        version=offer.version,
        cpu_formats=sorted(offer.cpu_formats),
        gpu_formats=sorted(offer.gpu_formats),
    )
