"""How nodes and what they have are written for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from modelyard.cli import output
from modelyard.sizes import format_size


def print_nodes(found: Sequence[Any], title: str = "") -> None:
    rows = [
        (
            node.node,
            node.address,
            "yes" if node.connected else "no",
            state_name(node),
            f"{node.free_core_slots} of {len(node.resources.cores) * node.resources.replicas_per_core}",
            f"{format_size(node.free_memory_bytes)} of {format_size(node.resources.memory_bytes)}",
            describe_free_gpus(node),
            node.replicas,
            describe_formats(node),
            node.resources.hardware_class,
        )
        for node in found
    ]
    columns = [
        *("NODE", "ADDRESS", "CONNECTED", "SCHEDULING", "FREE CORES", "FREE MEMORY", "FREE GPUS", "REPLICAS"),
        *("SERVES", "HARDWARE"),
    ]
    output.print_table(columns, rows, title=title, empty="no nodes: modelyard agent --controller HOST:PORT")


def state_name(node: Any) -> str:
    """As in "draining"; of a controller of an earlier release "open"."""
    enum = node.scheduling.DESCRIPTOR.fields_by_name["state"].enum_type
    return "open" if not node.scheduling.state else output.enum_name(enum, node.scheduling.state).lower()


def describe_free_gpus(node: Any) -> str:
    """As in "1.5 of 2", or "0.5 of 2 (1 out of service)"; empty where there is none."""
    if not node.gpus:
        return ""
    faulty = sum(bool(gpu.condition.fault) for gpu in node.gpus)
    free = sum(gpu.free_percent for gpu in node.gpus if not gpu.condition.fault) / 100
    return f"{free:g} of {len(node.gpus)}" + (f" ({faulty} out of service)" if faulty else "")


def describe_formats(node: Any) -> str:
    """What it serves, on the CPU and on its GPUs: "onnx, savedmodel; GPU: onnx"."""
    on_gpu = {number for offer in node.resources.runtimes for number in offer.gpu_formats} if node.gpus else set()
    parts = [name_formats(node.resources.formats)]
    if on_gpu:
        parts.append(f"GPU: {name_formats(sorted(on_gpu))}")
    return "; ".join(filter(None, parts))


def name_formats(numbers: Iterable[int]) -> str:
    from modelyard.v1 import resources_pb2

    return ", ".join(output.enum_name(resources_pb2.ModelFormat.DESCRIPTOR, number).lower() for number in numbers)


def describe_ranges(numbers: Iterable[int]) -> str:
    """As in "0-3, 8": of 0, 1, 2, 3, 8."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
