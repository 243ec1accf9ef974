"""`modelyard node show`: all that is known of one node."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from modelyard.cli import output
from modelyard.cli.controller import Controller
from modelyard.cli.node_tables import describe_formats, describe_ranges, name_formats, state_name
from modelyard.cli.replica_tables import print_replicas
from modelyard.errors import NotFoundError
from modelyard.sizes import format_size

_NAMED = 5
Rows = list[tuple[str, object]]


def find_node(yard: Controller, host: str) -> tuple[Any, list[Any]]:
    """The node, and the replicas there. Raises NotFoundError with the names that are near."""
    from modelyard.v1 import deployments_pb2

    nodes = {node.node: node for node in yard.cluster.ListNodes(deployments_pb2.ListNodesRequest()).nodes}
    if host not in nodes:
        raise NotFoundError(f"there is no node {host!r}; {_describe_choice(host, sorted(nodes))}")
    replicas = yard.cluster.ListReplicas(deployments_pb2.ListReplicasRequest()).replicas
    return nodes[host], [replica for replica in replicas if replica.node == host]


def _describe_choice(host: str, names: Sequence[str]) -> str:
    if near := difflib.get_close_matches(host, names, n=_NAMED):
        return f"did you mean {', '.join(near)}?"
    if not names:
        return "none has connected: modelyard agent --controller HOST:PORT"
    return f"there are {', '.join(names[:_NAMED])}{' and others' if len(names) > _NAMED else ''}"


def print_node(node: Any, replicas: Sequence[Any]) -> None:
    _print_section(node.node, _facts(node))
    _print_section("Cores", list(_cores(node)))
    _print_section("GPUs", list(_gpus(node)))
    _print_section("Runtimes", list(_runtimes(node)))
    print_replicas(replicas, title="Replicas")


def _print_section(title: str, rows: Rows) -> None:
    rows = [(key, value) for key, value in rows if value not in ("", None)]
    if not rows:
        return
    typer.echo(title)
    width = max(len(key) for key, _ in rows)
    for key, value in rows:
        typer.echo(f"  {key.ljust(width)}  {value}")


def _facts(node: Any) -> Rows:
    resources = node.resources
    slots = len(resources.cores) * resources.replicas_per_core
    seen = f"no, last seen {output.format_time(node.last_seen_time)}" if node.last_seen_time.seconds else "no"
    return [
        ("address", node.address),
        ("connected", "yes" if node.connected else seen),
        ("scheduling", _describe_scheduling(node)),
        ("agent", node.agent_release or ("of an earlier release" if node.connected else "")),
        ("hardware", resources.hardware_class),
        ("serves", describe_formats(node)),
        ("free cores", f"{node.free_core_slots} of {slots}" if slots else ""),
        ("replicas a core", resources.replicas_per_core if resources.replicas_per_core > 1 else ""),
        (
            "free memory",
            f"{format_size(node.free_memory_bytes)} of {format_size(resources.memory_bytes)}" if slots else "",
        ),
        ("GPU driver", resources.driver_version),
        ("GPUs", resources.gpu_message),
    ]


def _describe_scheduling(node: Any) -> str:
    scheduling = node.scheduling
    if state_name(node) == "open":
        return "open"
    who = f" by {scheduling.user}" if scheduling.user else ""
    why = f": {' '.join(scheduling.reason.split())}" if scheduling.reason else ""
    return f"{state_name(node)} since {output.format_time(scheduling.update_time)}{who}{why}"


def _cores(node: Any) -> Iterator[tuple[str, str]]:
    """By socket and NUMA node; those of which the host does not tell at the end."""
    places: dict[tuple[int, int], list[Any]] = defaultdict(list)
    for core in node.resources.topology:
        places[core.socket, core.numa_node].append(core)
    for (socket, numa_node), cores in sorted(places.items()):
        physical = len({core.physical_core for core in cores})
        numbers = describe_ranges(core.number for core in cores)
        siblings = f" on {physical} physical cores" if physical < len(cores) else ""
        yield f"socket {socket}, NUMA node {numa_node}", f"{numbers} ({len(cores)}{siblings})"
    if untold := set(node.resources.cores) - {core.number for core in node.resources.topology}:
        yield "anywhere" if not places else "elsewhere", f"{describe_ranges(untold)} ({len(untold)})"


def _gpus(node: Any) -> Iterator[tuple[str, str]]:
    use = {gpu.uuid: gpu for gpu in node.gpus}
    for gpu in node.resources.gpus:
        yield gpu.uuid, "; ".join(_describe_gpu(gpu, use.get(gpu.uuid)))


def _describe_gpu(gpu: Any, use: Any) -> Iterator[str]:
    yield f"{gpu.hardware_class}, {format_size(gpu.memory_bytes)}"
    if gpu.parent_uuid:
        yield f"a part of {gpu.parent_uuid}"
    if use is not None and not use.condition.fault:
        yield f"free {use.free_percent}% and {format_size(use.free_memory_bytes)}"
    because = f" only ({gpu.whole_because})" if gpu.whole_because else ""
    yield f"in shares of {', '.join(f'{share}%' for share in gpu.shares)}{because}"
    if use is not None and use.HasField("condition"):
        yield from _describe_condition(use.condition)


def _describe_condition(condition: Any) -> Iterator[str]:
    if condition.fault:
        yield f"OUT OF SERVICE: {condition.fault}"
    processes = "1 process" if condition.processes == 1 else f"{condition.processes} processes"
    used = format_size(condition.memory_used_bytes)
    yield f"now {condition.utilization_percent}% busy, {used} used by {processes}"


def _runtimes(node: Any) -> Iterator[tuple[str, str]]:
    for offer in node.resources.runtimes:
        places = {"CPU": name_formats(offer.cpu_formats), "GPU": name_formats(offer.gpu_formats)}
        served = "; ".join(f"{place}: {formats}" for place, formats in places.items() if formats)
        yield f"{offer.name} {offer.version}".strip(), served or "nothing here"
