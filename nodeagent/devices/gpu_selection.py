"""Which of a host's GPUs are offered: what the agent's settings and its environment leave. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from nodeagent.devices.gpus import GpuFacts, GpuList

ALL, NONE = "all", "none"


@dataclass(frozen=True)
class Selection:
    """`message`: why there is none, or why not all are offered; empty where all are."""

    gpus: tuple[GpuFacts, ...] = ()
    message: str = ""
    driver_version: str = ""


def choose_gpus(found: GpuList, wanted: str, visible: str | None) -> Selection:
    """`wanted`: "all", or UUIDs and indices, as in 0,1:0,GPU-5c3f. `visible`: CUDA_VISIBLE_DEVICES; None: unset.

    Raises ValueError where a GPU that is wanted is not there.
    """
    seen = found.gpus if visible is None else _choose_visible(found.gpus, visible)
    gpus = seen if wanted == ALL else _choose_wanted(found, seen, wanted)
    messages = list(found.left_out)
    if hidden := len(found.gpus) - len(seen):
        messages.append(f"CUDA_VISIBLE_DEVICES of the agent hides {hidden} of {len(found.gpus)} GPUs")
    if not gpus and not messages:
        messages.append("NVIDIA's driver finds no GPU here")
    return Selection(gpus, "; ".join(messages), found.driver_version)


def parse_names(text: str) -> tuple[str, ...]:
    """What --gpus names. Raises ValueError that says what is wanted."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or (len(names) > 1 and {ALL, NONE} & set(names)):
        raise ValueError(f"{text!r} names no GPUs: wanted all, none, or UUIDs and indices, as in 0,1 or GPU-5c3f,0:1")
    return names


def _choose_wanted(found: GpuList, seen: Sequence[GpuFacts], wanted: str) -> tuple[GpuFacts, ...]:
    chosen: list[GpuFacts] = []
    for name in parse_names(wanted):
        if not (named := _find(seen, name)):
            reason = "; ".join(found.left_out)
            raise ValueError(f"--gpus names {name}, which is not here{f' ({reason})' if reason else ''}: {_list(seen)}")
        chosen += [gpu for gpu in named if gpu not in chosen]
    return tuple(chosen)


def _list(gpus: Sequence[GpuFacts]) -> str:
    named = ", ".join(f"{gpu.index} ({gpu.uuid}, {gpu.hardware_class})" for gpu in gpus)
    return f"there are {named}" if named else "there is none"


def _choose_visible(gpus: Sequence[GpuFacts], visible: str) -> tuple[GpuFacts, ...]:
    """As CUDA reads it: what follows a name that is no GPU's is not seen either. Indices are in the bus's order."""
    seen: list[GpuFacts] = []
    for name in visible.split(","):
        if not (named := _find(gpus, name.strip())):
            break
        seen += [gpu for gpu in named if gpu not in seen]
    return tuple(seen)


def _find(gpus: Sequence[GpuFacts], name: str) -> list[GpuFacts]:
    """Of the GPU called so, or its MIG devices where it has some. A UUID may be cut short, while it tells one."""
    if name.replace(":", "").isdigit():
        return [gpu for gpu in gpus if name in (gpu.index, gpu.index.partition(":")[0])]
    if not name.startswith(("GPU-", "MIG-")):
        return []
    uuids = {uuid for gpu in gpus for uuid in (gpu.uuid, gpu.parent_uuid) if uuid.startswith(name)}
    return [gpu for gpu in gpus if {gpu.uuid, gpu.parent_uuid} & uuids] if len(uuids) == 1 else []
