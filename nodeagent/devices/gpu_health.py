"""Whether a GPU may serve: what events and readings say of it. Pure.

Sources: NVIDIA, "GPU Memory Error Management", https://docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt: a row that waits
for its replacement harms nobody, one that could not be replaced does; what the driver's recovery action asks for goes
above what can be guessed from counts of errors. NVIDIA, "NVML API Reference", nvmlDeviceGpuRecoveryAction_t and
nvmlComputeMode_t.
"""

from collections.abc import Collection, Sequence

from nodeagent.devices.gpus import GpuEvent, GpuFacts, GpuReading
from nodeagent.devices.xids import DOUBLE_BIT_ERROR, Blame, Xid, explain_xid

_AFTER_THAT = "then start the agent again"
_NO_ACTION, _RESET, _DRAIN_P2P = 0, 1, 3
_PROHIBITED, _EXCLUSIVE_PROCESS = 2, 3
_RECOVERY_ACTIONS = {
    _RESET: "stop the agent and reset the GPU (nvidia-smi --gpu-reset)",
    2: "reboot the host",
    4: "when its processes have ended, stop the agent and reset the GPU (nvidia-smi --gpu-reset)",
    5: "recover the IMEX domain",
    6: "reset its PCIe bus",
    7: "reboot the host",
}


def find_event_fault(event: GpuEvent, ignored_xids: Collection[int] = ()) -> str:
    """Why what befell the GPU takes it out of service, in a sentence; empty where it does not."""
    xid = explain_event(event)
    if xid.blame is not Blame.GPU or xid.number in ignored_xids:
        return ""
    return f"XID {xid.number}: {xid.meaning}, {_AFTER_THAT}"


def explain_event(event: GpuEvent) -> Xid:
    """A double-bit error of the memory is told twice, as an event of its own and as an XID."""
    return explain_xid(DOUBLE_BIT_ERROR if event.xid is None else event.xid)


def find_reading_fault(reading: GpuReading) -> str:
    """Why a GPU that is so is out of service, in a sentence; empty where it is not."""
    if reading.lost:
        return f"{reading.lost}, {_AFTER_THAT}"
    if reading.compute_mode == _PROHIBITED:
        return "its compute mode is Prohibited, so that no process may use it: change that (nvidia-smi -c DEFAULT)"
    if reading.row_remap_failed:
        return "a damaged row of its memory could not be replaced (row remapping failed): have it exchanged"
    action = reading.recovery_action
    if action is not None and action not in (_NO_ACTION, _DRAIN_P2P):
        return f"its driver asks for this: {_RECOVERY_ACTIONS.get(action, f'recovery action {action}')}"
    if action is None and reading.uncorrected_errors:
        count = reading.uncorrected_errors
        return f"its memory has {count} errors that could not be corrected (ECC): {_RECOVERY_ACTIONS[_RESET]}"
    return ""


def find_warning(reading: GpuReading) -> str:
    """What does not work on a GPU that is so, though it is in service, in a sentence; empty where all does."""
    if reading.compute_mode != _EXCLUSIVE_PROCESS:
        return ""
    return (
        "its compute mode is Exclusive_Process, so that no other process can start on it beside a replica that has the"
        " whole of it, its successor neither: change that (nvidia-smi -c DEFAULT)"
    )


def find_hit(event: GpuEvent, gpus: Sequence[GpuFacts]) -> list[GpuFacts]:
    """Those that the event is about: a MIG device where it names one, else the GPU, with all its MIG devices."""
    return [gpu for gpu in gpus if gpu.uuid == event.uuid or (gpu.parent_uuid == event.uuid and _is_meant(gpu, event))]


def _is_meant(gpu: GpuFacts, event: GpuEvent) -> bool:
    if event.gpu_instance is None:
        return True
    return event.gpu_instance == gpu.gpu_instance and event.compute_instance in (None, gpu.compute_instance)
