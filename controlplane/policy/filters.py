"""Why a replica cannot be on a node: named filters, each with a sentence a person can act on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from controlplane.domain import ModelFormat, Node, RuntimeOffer
from controlplane.policy.demand import Demand
from controlplane.policy.gpu_choice import explain_gpus
from controlplane.policy.rooms import Room
from controlplane.policy.wording import describe_scheduling, plural
from modelyard.sizes import format_size


@dataclass(frozen=True)
class Filter:
    name: str
    # Empty: the node passes.
    why_not: Callable[[Room, Demand], str]


_NEEDED = {
    ModelFormat.ONNX: "onnxruntime",
    ModelFormat.SAVEDMODEL: "OpenVINO",
    ModelFormat.TENSORRT: "a GPU with Triton",
}
_NEEDED_ON_GPU = {
    ModelFormat.ONNX: "a GPU, with Triton or an onnxruntime that computes on it",
    ModelFormat.SAVEDMODEL: "a GPU with Triton",
    ModelFormat.TENSORRT: "a GPU with Triton",
}
_INSTALL_THERE = "install this project there with its extra `agent`, and start the agent again"
_INSTALL_SOMEWHERE = "install this project on a node with its extra `agent`, and start the agent there again"
_EARLIER_RELEASE = "of an earlier release, which takes no model that is a folder"


def _connected(room: Room, demand: Demand) -> str:
    return "" if room.node.connected else "its agent is not connected; start it there with `modelyard agent`"


def _open(room: Room, demand: Demand) -> str:
    if room.scheduling is None:
        return ""
    return f"it is {describe_scheduling(room.scheduling)}; open it with `modelyard node uncordon {room.node.name}`"


def can_serve(node: Node, demand: Demand) -> bool:
    """Whether one of its runtimes can, however full it is."""
    return _has_runtime(node, demand) and (node.takes_folders or not demand.is_folder)


def _has_runtime(node: Node, demand: Demand) -> bool:
    return any(_can_runtime(offer, demand) for offer in node.runtimes)


def _can_runtime(offer: RuntimeOffer, demand: Demand) -> bool:
    formats = offer.gpu_formats if demand.gpu_percent else offer.cpu_formats
    return demand.serving.runtime in ("", offer.name) and demand.format in formats


def _format(room: Room, demand: Demand) -> str:
    if can_serve(room.node, demand):
        return ""
    if _has_runtime(room.node, demand):
        return f"its agent is {_EARLIER_RELEASE}; install this release there"
    return _needs(demand, _INSTALL_THERE)


def _gpu(room: Room, demand: Demand) -> str:
    if not demand.gpu_percent or not (reason := explain_gpus(room, demand)):
        return ""
    return f"{reason}; ask for another --gpu-share or --gpu-memory, stop something or add a host"


def _cores(room: Room, demand: Demand) -> str:
    cores = len(room.node.cores)
    if cores < demand.cores:
        return f"needs {plural(demand.cores, 'core')}, it offers {cores}; lower --threads or add a larger host"
    free = room.free_cores
    if free < demand.cores:
        need = f"needs {plural(demand.cores, 'core')}, {free} of {cores} {'is' if free == 1 else 'are'} free"
        return f"{need}; lower --threads, stop something or add a host"
    return ""


def _memory(room: Room, demand: Demand) -> str:
    total, free = room.node.memory_bytes, room.free_bytes
    need = f"needs {format_size(demand.memory_bytes)} of memory"
    if total < demand.memory_bytes:
        return f"{need}, it offers {format_size(total)}; lower --memory or add a larger host"
    if free < demand.memory_bytes:
        left = f"{format_size(free)} of {format_size(total)} is free"
        return f"{need}, {left}; lower --memory, stop something or add a host"
    return ""


FILTERS = (
    Filter("connected", _connected),
    Filter("open", _open),
    Filter("format", _format),
    Filter("gpu", _gpu),
    Filter("cores", _cores),
    Filter("memory", _memory),
)


def explain_refusal(room: Room, demand: Demand) -> str:
    """The first filter's reason, with the node's name; empty where the replica fits."""
    for filter_ in FILTERS:
        if reason := filter_.why_not(room, demand):
            return f"node {room.node.name}: {reason}"
    return ""


def explain_format(rooms: Iterable[Room], demand: Demand) -> str:
    """Said once where no node can serve the model, whatever room it has; empty where one can."""
    nodes = [room.node for room in rooms]
    if any(can_serve(node, demand) for node in nodes):
        return ""
    if any(_has_runtime(node, demand) for node in nodes):
        why = f"each agent that serves such models is {_EARLIER_RELEASE}; install this release on a node"
    else:
        why = _needs(demand, _INSTALL_SOMEWHERE)
    here = ", ".join(sorted({offer.name for node in nodes for offer in node.runtimes}))
    return f"no node here can serve it: {why}" + (f" (there are {here})" if demand.serving.runtime and here else "")


def _needs(demand: Demand, install: str) -> str:
    if runtime := demand.serving.runtime:
        where = "on a GPU" if demand.gpu_percent else "on the CPU"
        return f"it needs the runtime {runtime!r} for {demand.format} {where}; ask for another, or for --runtime any"
    if demand.gpu_percent:
        on_cpu = "" if demand.format is ModelFormat.TENSORRT else "; deploy it with --gpu-share 0 to serve it on CPUs"
        return f"it needs {_NEEDED_ON_GPU[demand.format]}{on_cpu}"
    return f"it needs {_NEEDED[demand.format]}; {install}"
