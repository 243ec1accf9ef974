"""What NVML's error codes mean to whoever looks after the host. Source: NVIDIA, "NVML API Reference", nvmlReturn_t."""

from nodeagent.devices.gpus import GpuLibraryError

NOT_SUPPORTED, NO_PERMISSION, DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, FUNCTION_NOT_FOUND = 3, 4, 9, 12, 13
GPU_IS_LOST, RESET_REQUIRED, OPERATING_SYSTEM, VERSION_MISMATCH = 15, 16, 17, 18
GPU_NOT_FOUND = 28

_ABSENT = {
    LIBRARY_NOT_FOUND: "NVIDIA's library libnvidia-ml.so.1 is not here, nor is a GPU driver then",
    DRIVER_NOT_LOADED: "NVIDIA's driver is not loaded; load it (modprobe nvidia), or give the container its GPUs",
}
_BROKEN = {
    NO_PERMISSION: "the agent may not open /dev/nvidia*; run it as a user that may",
    FUNCTION_NOT_FOUND: "NVIDIA's driver is too old; install 410 or newer",
    OPERATING_SYSTEM: "the operating system keeps the agent from the GPUs; allow it /dev/nvidia* (cgroup, container)",
    VERSION_MISMATCH: "NVIDIA's driver in the kernel and libnvidia-ml.so.1 are of different versions; reboot the host, "
    "or load the driver anew",
}
# Whatever was asked, the GPU will not answer before somebody did something.
LOST = {
    GPU_IS_LOST: "it has fallen off the bus, or cannot be reached otherwise; reboot the host",
    RESET_REQUIRED: "it has to be reset before it works again (nvidia-smi --gpu-reset)",
    GPU_NOT_FOUND: "its driver does not know it any more; reboot the host",
}


class GpuLostError(GpuLibraryError):
    """A GPU cannot be used before somebody did something."""


def explain_start(code: int, text: str) -> GpuLibraryError:
    """Why NVML does not start. `text`: how the library calls the error."""
    if code in _ABSENT:
        return GpuLibraryError(_ABSENT[code], is_absent=True)
    return GpuLibraryError(_BROKEN.get(code) or LOST.get(code) or f"NVIDIA's driver does not work: {text}")


def explain_call(code: int, text: str) -> GpuLibraryError:
    """Why a call on one GPU failed. `text`: how the library calls the error."""
    if code in LOST:
        return GpuLostError(LOST[code])
    return GpuLibraryError(_BROKEN.get(code) or f"its driver says: {text}")
