"""What is known of a host's GPUs: what they are, how they are, what befell them. Values only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class GpuFacts:
    """A GPU, or a MIG device of one: what does not change while the agent runs."""

    uuid: str
    # As nvidia-smi numbers them: "0"; of a MIG device "0:1", the second one of GPU 0.
    index: str
    hardware_class: str
    memory_bytes: int
    compute_capability: str = ""
    pci_bus_id: str = ""
    # Of a MIG device only.
    parent_uuid: str = ""
    gpu_instance: int | None = None
    compute_instance: int | None = None


@dataclass(frozen=True)
class GpuList:
    """`left_out`: of each GPU that cannot be offered, why, in a sentence."""

    gpus: tuple[GpuFacts, ...]
    left_out: tuple[str, ...] = ()
    driver_version: str = ""


@dataclass(frozen=True)
class GpuProcess:
    """`sm_percent`: of the time lately that a kernel of it ran; None where the driver does not tell.

    Of clients of MPS it is told as their server's, which is a process on the GPU like any other.
    """

    pid: int
    memory_bytes: int | None = None
    sm_percent: int | None = None


@dataclass(frozen=True)
class GpuReading:
    """How a GPU is at one moment. None: the driver does not tell."""

    utilization_percent: int | None = None
    memory_used_bytes: int | None = None
    processes: tuple[GpuProcess, ...] = ()
    # Memory errors beyond correction since the GPU was reset, or its driver loaded.
    uncorrected_errors: int | None = None
    row_remap_failed: bool = False
    # nvmlComputeMode_t, which an administrator sets: how many processes may compute on it.
    compute_mode: int | None = None
    # nvmlDeviceGpuRecoveryAction_t: what the driver wants done.
    recovery_action: int | None = None
    # Why it cannot be read, where that says that it is gone.
    lost: str = ""


@dataclass(frozen=True)
class GpuEvent:
    """Told by the driver. `xid`: None for a double-bit memory error. Instances: of the MIG device it names, if any."""

    uuid: str
    xid: int | None
    gpu_instance: int | None = None
    compute_instance: int | None = None


@dataclass(frozen=True)
class GpuCondition:
    """How a GPU is now. `fault`: why it takes no replicas, in a sentence; empty: it is in service."""

    uuid: str
    fault: str = ""
    utilization_percent: int = 0
    memory_used_bytes: int = 0
    processes: int = 0


class GpuLibraryError(Exception):
    """The driver cannot be asked; the message says why, and what to do. `is_absent`: there is none on this host."""

    def __init__(self, message: str, *, is_absent: bool = False) -> None:
        super().__init__(message)
        self.is_absent = is_absent


class GpuLibrary(Protocol):
    """The driver's own library, open. Each call may take long, or never return; one thread at a time uses it.

    All but `close` raise GpuLibraryError.
    """

    def list_gpus(self) -> GpuList: ...

    def read(self, gpu: GpuFacts) -> GpuReading: ...

    def watch_events(self, gpus: Sequence[GpuFacts]) -> bool:
        """From now on `wait_event` tells what befalls them, and nobody else. False where none of them tells events."""

    def wait_event(self, timeout_s: float) -> GpuEvent | None:
        """None where nothing has happened."""

    def close(self) -> None: ...
