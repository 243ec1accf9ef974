"""How replicas are written for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelyard.cli import output
from modelyard.sizes import format_size

_GPU_SHOWN = 12
_PARTS = (
    ("fetch", "fetch_s"),
    ("start", "start_s"),
    ("load", "load_s"),
    ("warm-up", "warm_up_s"),
    ("probe", "probe_s"),
)


def print_replicas(found: Sequence[Any], title: str = "") -> None:
    """With the GPUs where any of them has one."""
    with_gpu = any(replica.allocation.HasField("gpu") for replica in found)
    columns = ["REPLICA", "MODEL-ID", "ALIAS", "NODE", "STATE", "ADDRESS", "CORES", *(["GPU"] if with_gpu else [])]
    columns += ["MEMORY", "RUNTIME", "RESTARTS", "MESSAGE"]
    rows = [
        (
            *(replica.replica_id, f"{replica.model}@{replica.version}", replica.alias, replica.node),
            describe_state(replica) + (" (retiring)" if replica.retiring else ""),
            *(replica.address, ",".join(map(str, replica.allocation.cores))),
            *([describe_share(replica.allocation)] if with_gpu else []),
            *(_describe_memory(replica), replica.runtime or replica.serving.runtime, replica.restarts, replica.message),
        )
        for replica in found
    ]
    output.print_table(columns, rows, title=title, empty="none run")


def describe_state(message: Any) -> str:
    """Of a replica or a status: "READY"."""
    return output.enum_name(message.DESCRIPTOR.fields_by_name["state"].enum_type, message.state)


def describe_share(allocation: Any) -> str:
    """As in "25% of GPU-0a1b2c3d, 4 GiB"; empty without a GPU."""
    if not allocation.HasField("gpu"):
        return ""
    gpu = allocation.gpu
    return f"{gpu.percent}% of {gpu.uuid[:_GPU_SHOWN]}, {format_size(gpu.memory_bytes)}"


def _describe_memory(replica: Any) -> str:
    given = format_size(replica.allocation.memory_bytes)
    return f"{format_size(replica.memory_used_bytes)} of {given}" if replica.memory_used_bytes else given


def describe_start(replica: Any) -> str:
    """As in "0.62 s: fetch 0.01 s, start 0.35 s, load 0.2 s, warm-up 0.05 s, probe 0.01 s"."""
    times = replica.start_times
    parts = [f"{name} {getattr(times, field):.2g} s" for name, field in _PARTS]
    return f"{start_seconds(replica):.2f} s: {', '.join(parts)}"


def start_seconds(replica: Any) -> float:
    """From the decision to start it to the answer that made it ready."""
    return float(sum(getattr(replica.start_times, field) for _, field in _PARTS))
