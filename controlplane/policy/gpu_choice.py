"""Which GPU of a node a replica gets, and why one cannot be it."""

from controlplane.domain import Gpu, GpuShare
from controlplane.policy.demand import Demand
from controlplane.policy.rooms import GpuRoom, Room, default_gpu_memory
from controlplane.policy.wording import plural
from modelyard.sizes import format_size


def share_of(gpu: Gpu, demand: Demand) -> GpuShare:
    """What a replica gets of this GPU. Where no memory is stated: the same share of it as of the multiprocessors."""
    size_bytes = demand.gpu_memory_bytes or default_gpu_memory(gpu, demand.gpu_percent)
    return GpuShare(gpu.uuid, demand.gpu_percent, size_bytes)


def choose_gpu(room: Room, demand: Demand) -> GpuShare | None:
    """Of those that can take it the one with the least left, so that the others keep room for larger shares.

    None where it needs none, or where none can.
    """
    fitting = [gpu for gpu in room.gpus.values() if demand.gpu_percent and not why_not(gpu, demand)]
    if not fitting:
        return None
    best = min(fitting, key=lambda gpu: (gpu.free_percent, gpu.free_bytes, gpu.gpu.uuid))
    return share_of(best.gpu, demand)


def why_not(room: GpuRoom, demand: Demand) -> str:
    """Why this GPU cannot take the replica, as a sentence without the GPU's name; empty where it can."""
    gpu = room.gpu
    if room.fault:
        return f"it is out of service: {room.fault}"
    if demand.built_for and not _is_called(gpu.hardware_class, demand.built_for):
        return f"the plan was built for {demand.built_for}, it is a {gpu.hardware_class}"
    if demand.gpu_percent not in gpu.shares:
        offered = ", ".join(f"{share}%" for share in gpu.shares)
        because = f" ({gpu.whole_because})" if gpu.whole_because else ""
        return f"it is given away in shares of {offered}{because}, {demand.gpu_percent}% was asked for"
    if room.free_percent < demand.gpu_percent:
        return f"needs {demand.gpu_percent}%, {room.free_percent}% is free"
    return _why_no_memory(room, share_of(gpu, demand).memory_bytes)


def _why_no_memory(room: GpuRoom, needed_bytes: int) -> str:
    need, total = f"needs {format_size(needed_bytes)} of GPU memory", room.gpu.memory_bytes
    if total < needed_bytes:
        return f"{need}, it has {format_size(total)}"
    return f"{need}, {format_size(room.free_bytes)} is free" if room.free_bytes < needed_bytes else ""


def _is_called(hardware_class: str, name: str) -> bool:
    """People write "A100" for what the driver calls "NVIDIA A100-SXM4-40GB". An A10 is another GPU."""
    return _words(name) <= _words(hardware_class)


def _words(name: str) -> set[str]:
    return set(name.lower().replace("-", " ").split())


def explain_gpus(room: Room, demand: Demand) -> str:
    """Why no GPU of the node can take the replica; empty where one can."""
    node = room.node
    if not node.gpus:
        return f"it has no GPU{f' ({node.gpu_message})' if node.gpu_message else ''}"
    reasons = {uuid: why_not(gpu, demand) for uuid, gpu in room.gpus.items()}
    if not all(reasons.values()):
        return ""
    first = next(iter(reasons.values()))
    if len(set(reasons.values())) == 1:
        return f"its GPU: {first}" if len(reasons) == 1 else f"each of its {plural(len(reasons), 'GPU')}: {first}"
    shown = [f"GPU {uuid}: {reason}" for uuid, reason in list(reasons.items())[:2]]
    more = [f"and {len(reasons) - 2} more"] if len(reasons) > 2 else []
    return "; ".join([*shown, *more])
