"""GPUs and runtimes of nodes, to and from domain values; messages of agents are checked here."""

from collections.abc import Iterable, Mapping

from controlplane.domain import Gpu, GpuCondition, ModelFormat, RuntimeOffer
from modelyard.errors import InvalidArgumentError
from modelyard.v1 import resources_pb2

_FORMATS = {resources_pb2.ModelFormat.Value(f"MODEL_FORMAT_{format_.name}"): format_ for format_ in ModelFormat}
_LONGEST_TEXT = 300
# The database keeps no longer ones.
_LONGEST_UUID = 100


def runtimes_from_proto(resources: resources_pb2.NodeResources) -> tuple[RuntimeOffer, ...]:
    """Those of an earlier release tell the formats of the built-in one only, or none: that was ONNX."""
    if resources.runtimes:
        return tuple(_offer_from_proto(offer) for offer in resources.runtimes)
    formats = _formats_from_proto(resources.formats) if resources.formats else frozenset({ModelFormat.ONNX})
    return (RuntimeOffer("built-in", cpu_formats=formats),)


def _offer_from_proto(offer: resources_pb2.RuntimeOffer) -> RuntimeOffer:
    return RuntimeOffer(
        name=offer.name[:_LONGEST_TEXT],
        version=offer.version[:_LONGEST_TEXT],
        cpu_formats=_formats_from_proto(offer.cpu_formats),
        gpu_formats=_formats_from_proto(offer.gpu_formats),
    )


def _formats_from_proto(formats: Iterable[int]) -> frozenset[ModelFormat]:
    """Those that are known here."""
    return frozenset(_FORMATS[value] for value in formats if value in _FORMATS)


def runtime_to_proto(offer: RuntimeOffer) -> resources_pb2.RuntimeOffer:
    return resources_pb2.RuntimeOffer(
        name=offer.name,
        version=offer.version,
        cpu_formats=formats_to_proto(offer.cpu_formats),
        gpu_formats=formats_to_proto(offer.gpu_formats),
    )


def formats_to_proto(formats: Iterable[ModelFormat]) -> list[str]:
    return sorted(f"MODEL_FORMAT_{format_.name}" for format_ in formats)


def gpu_from_proto(gpu: resources_pb2.Gpu) -> Gpu:
    """Raises InvalidArgumentError where nothing could be placed on it."""
    if not 0 < len(gpu.uuid) <= _LONGEST_UUID or gpu.memory_bytes <= 0:
        raise InvalidArgumentError(
            f"GPU {gpu.uuid[:_LONGEST_UUID]!r} has {gpu.memory_bytes} bytes: wanted a UUID of up to {_LONGEST_UUID} "
            "characters, and memory"
        )
    if any(not 0 < share <= 100 for share in gpu.shares) or 100 not in gpu.shares:
        raise InvalidArgumentError(f"GPU {gpu.uuid} has shares of {list(gpu.shares)}: wanted 1 to 100, and 100 itself")
    return Gpu(
        uuid=gpu.uuid,
        hardware_class=gpu.hardware_class[:_LONGEST_TEXT],
        memory_bytes=gpu.memory_bytes,
        compute_capability=gpu.compute_capability[:_LONGEST_TEXT],
        parent_uuid=gpu.parent_uuid[:_LONGEST_TEXT],
        pci_bus_id=gpu.pci_bus_id[:_LONGEST_TEXT],
        shares=tuple(sorted(set(gpu.shares), reverse=True)),
        whole_because=gpu.whole_because[:_LONGEST_TEXT],
    )


def gpu_to_proto(gpu: Gpu) -> resources_pb2.Gpu:
    return resources_pb2.Gpu(
        uuid=gpu.uuid,
        hardware_class=gpu.hardware_class,
        memory_bytes=gpu.memory_bytes,
        compute_capability=gpu.compute_capability,
        parent_uuid=gpu.parent_uuid,
        pci_bus_id=gpu.pci_bus_id,
        shares=gpu.shares,
        whole_because=gpu.whole_because,
    )


def conditions_from_proto(conditions: Iterable[resources_pb2.GpuCondition]) -> Mapping[str, GpuCondition]:
    """By UUID."""
    return {
        condition.uuid: GpuCondition(
            uuid=condition.uuid,
            fault=condition.fault[:_LONGEST_TEXT],
            utilization_percent=condition.utilization_percent,
            memory_used_bytes=condition.memory_used_bytes,
            processes=condition.processes,
        )
        for condition in conditions
    }


def condition_to_proto(condition: GpuCondition) -> resources_pb2.GpuCondition:
    return resources_pb2.GpuCondition(
        uuid=condition.uuid,
        fault=condition.fault,
        utilization_percent=condition.utilization_percent,
        memory_used_bytes=condition.memory_used_bytes,
        processes=condition.processes,
    )
