"""What the environment of a process says of GPUs: which one it sees, and how much of it is its own.

Sources: CUDA Programming Guide, "CUDA Environment Variables"; NVIDIA "Multi-Process Service",
https://docs.nvidia.com/deploy/mps, "Environment Variables".
"""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from nodeagent.replica_spec import GpuShare

_MIB = 1 << 20
# A process without this variable joins the daemon at /tmp/nvidia-mps, should the host have one of its own.
_NO_DAEMON = "/dev/null"
# Of a process that has no GPU.
NO_GPU: Mapping[str, str] = MappingProxyType({"CUDA_VISIBLE_DEVICES": ""})


@dataclass(frozen=True)
class MpsFolders:
    """Of one control daemon: `pipe` has its sockets, `log` what it and its server say."""

    pipe: Path
    log: Path


def forget_mps(environment: MutableMapping[str, str]) -> None:
    """Takes out what was meant for other processes: a limit that a replica inherits is one that nobody gave it."""
    for name in [name for name in environment if name.startswith("CUDA_MPS_")]:
        del environment[name]


def device_environment(uuid: str) -> dict[str, str]:
    """Makes a process see this GPU, or MIG device, and no other."""
    return {"CUDA_VISIBLE_DEVICES": uuid, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def daemon_environment(uuid: str, folders: MpsFolders) -> dict[str, str]:
    """Of the daemon of this GPU, and of who talks to it."""
    mps = {"CUDA_MPS_PIPE_DIRECTORY": str(folders.pipe), "CUDA_MPS_LOG_DIRECTORY": str(folders.log)}
    return {**device_environment(uuid), **mps}


def exclusive_environment(uuid: str) -> dict[str, str]:
    """Of a process that has the whole GPU: it goes past every MPS daemon."""
    return {**device_environment(uuid), "CUDA_MPS_PIPE_DIRECTORY": _NO_DAEMON}


def share_environment(share: GpuShare, folders: MpsFolders) -> dict[str, str]:
    """Of a process that has a share, by way of the daemon of these folders.

    Both limits are read once, when the process makes its first context: a share is changed by another process. The
    percentage is a cap, not a reservation. The memory is of device 0, the only one that the process sees, in whole
    MiB rounded down, and counts what CUDA itself takes there.
    """
    limits = {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": str(share.percent)}
    if share.memory_bytes:
        limits["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = f"0={max(1, share.memory_bytes // _MIB)}M"
    return {**daemon_environment(share.uuid, folders), **limits}
