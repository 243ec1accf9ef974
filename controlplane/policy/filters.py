"""Why a replica cannot be on a node: named filters, each with a sentence a person can act on."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from controlplane.domain import ModelFormat, Node
from modelyard.sizes import format_size


@dataclass(frozen=True)
class Demand:
    """What one replica needs."""

    cores: int
    memory_bytes: int
    format: ModelFormat = ModelFormat.ONNX
    is_folder: bool = False


@dataclass(frozen=True)
class Room:
    """What is left of a node beside every replica that is not gone yet."""

    node: Node
    # Replicas pinned to each of the node's cores.
    used_slots: Mapping[int, int]
    reserved_bytes: int

    @property
    def free_cores(self) -> tuple[int, ...]:
        """The cores that can take one more replica, those with the fewest first."""
        limit = self.node.replicas_per_core
        return tuple(sorted((c for c, used in self.used_slots.items() if used < limit), key=self._by_use))

    def _by_use(self, core: int) -> tuple[int, int]:
        return self.used_slots[core], core

    @property
    def free_core_slots(self) -> int:
        return sum(max(0, self.node.replicas_per_core - used) for used in self.used_slots.values())

    @property
    def free_bytes(self) -> int:
        return max(0, self.node.memory_bytes - self.reserved_bytes)


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
_INSTALLABLE = (ModelFormat.ONNX, ModelFormat.SAVEDMODEL)
_INSTALL_THERE = "install this project there with its extra `agent`, and start the agent again"
_INSTALL_SOMEWHERE = "install this project on a node with its extra `agent`, and start the agent there again"
_EARLIER_RELEASE = "of an earlier release, which takes no model that is a folder"


def _connected(room: Room, demand: Demand) -> str:
    return "" if room.node.connected else "its agent is not connected; start it there with `modelyard agent`"


def can_serve(node: Node, demand: Demand) -> bool:
    """Whether its runtimes can, however full it is."""
    return demand.format in node.formats and (node.takes_folders or not demand.is_folder)


def _format(room: Room, demand: Demand) -> str:
    if can_serve(room.node, demand):
        return ""
    if demand.format in room.node.formats:
        return f"its agent is {_EARLIER_RELEASE}; install this release there"
    return _needs(demand.format, _INSTALL_THERE)


def _cores(room: Room, demand: Demand) -> str:
    cores = len(room.node.cores)
    if cores < demand.cores:
        return f"needs {plural(demand.cores, 'core')}, it offers {cores}; lower --threads or add a larger host"
    free = len(room.free_cores)
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
    Filter("format", _format),
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
    if any(demand.format in node.formats for node in nodes):
        why = f"each agent that serves such models is {_EARLIER_RELEASE}; install this release on a node"
    else:
        why = _needs(demand.format, _INSTALL_SOMEWHERE)
    return f"no node here can serve it: {why}"


def _needs(format_: ModelFormat, install: str) -> str:
    return f"it needs {_NEEDED[format_]}" + (f"; {install}" if format_ in _INSTALLABLE else "")


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
