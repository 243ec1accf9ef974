"""The GPUs of this host and how they are, as the controller is told."""

from collections.abc import Sequence

from modelyard.v1 import resources_pb2
from nodeagent.devices.gpu_selection import Selection
from nodeagent.devices.gpu_shares import offered_shares
from nodeagent.devices.gpus import GpuCondition, GpuFacts
from nodeagent.settings import AgentSettings


def tell_gpus(selection: Selection, settings: AgentSettings, mps_reason: str) -> resources_pb2.NodeResources:
    """Only what there is to say of GPUs. `mps_reason`: why GPUs cannot be shared here; empty: they can."""
    return resources_pb2.NodeResources(
        gpus=[_gpu_to_proto(gpu, settings, mps_reason) for gpu in selection.gpus],
        gpu_message=selection.message,
        driver_version=selection.driver_version,
    )


def _gpu_to_proto(gpu: GpuFacts, settings: AgentSettings, mps_reason: str) -> resources_pb2.Gpu:
    shares, whole_because = offered_shares(gpu, settings, mps_reason)
    return resources_pb2.Gpu(
        uuid=gpu.uuid,
        hardware_class=gpu.hardware_class,
        memory_bytes=gpu.memory_bytes,
        compute_capability=gpu.compute_capability,
        parent_uuid=gpu.parent_uuid,
        pci_bus_id=gpu.pci_bus_id,
        shares=shares,
        whole_because=whole_because,
    )


def tell_conditions(conditions: Sequence[GpuCondition]) -> list[resources_pb2.GpuCondition]:
    return [
        resources_pb2.GpuCondition(
            uuid=condition.uuid,
            fault=condition.fault,
            utilization_percent=condition.utilization_percent,
            memory_used_bytes=condition.memory_used_bytes,
            processes=condition.processes,
        )
        for condition in conditions
    ]
