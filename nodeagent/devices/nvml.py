"""NVIDIA's management library, NVML, through the package nvidia-ml-py: nobody else imports it.

Source: NVIDIA, "NVML API Reference", https://docs.nvidia.com/deploy/nvml-api. What an older driver lacks, does not
support on a GPU or fails to tell for once is left out, where an agent can do without it; each of the other errors is
said as what it is.
"""

import importlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from nodeagent.devices import nvml_errors
from nodeagent.devices.gpus import GpuEvent, GpuFacts, GpuLibraryError, GpuList, GpuProcess, GpuReading
from nodeagent.devices.mig import find_mig_class
from nodeagent.devices.nvml_calls import NvmlCalls
from nodeagent.devices.nvml_events import NvmlEvents


def open_nvml() -> "NvmlLibrary":
    """Raises GpuLibraryError where there is no driver, or it cannot be used."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        raise GpuLibraryError("the package nvidia-ml-py is not installed", is_absent=True) from None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise nvml_errors.explain_start(error.value, str(error)) from None
    return NvmlLibrary(nvml)


class NvmlLibrary:
    """A GpuLibrary. `nvml`: the module pynvml, initialized."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        calls = NvmlCalls(nvml)
        self._call, self._optional, self._supported = calls.need, calls.ask, calls.ask_strictly
        self._events = NvmlEvents(calls)
        # Of the GPUs and MIG devices that were listed. Older drivers do not find a MIG device by its UUID.
        self._handles: dict[str, Any] = {}
        # By UUID: until when the driver has told what processes used.
        self._told_until_us: dict[str, int] = {}

    def list_gpus(self) -> GpuList:
        gpus: list[GpuFacts] = []
        left_out: list[str] = []
        for index in range(self._call(self._nvml.nvmlDeviceGetCount)):
            try:
                gpus += self._list_gpu(index)
            except GpuLibraryError as error:
                left_out.append(f"GPU {index} is not offered: {error}")
        return GpuList(tuple(gpus), tuple(left_out), self._optional(self._nvml.nvmlSystemGetDriverVersion) or "")

    def _list_gpu(self, index: int) -> list[GpuFacts]:
        handle = self._call(self._nvml.nvmlDeviceGetHandleByIndex, index)
        gpu = self._describe(handle, str(index))
        modes = self._supported(self._nvml.nvmlDeviceGetMigMode, handle)
        if modes is None or modes[0] != self._nvml.NVML_DEVICE_MIG_ENABLE:
            return [gpu]
        devices = [self._describe_mig(device, number, gpu) for number, device in self._find_migs(handle)]
        if not devices:
            raise GpuLibraryError("it is in MIG mode and has no MIG devices; create some (nvidia-smi mig -cgi -C)")
        return devices

    def _find_migs(self, handle: Any) -> list[tuple[int, Any]]:
        places = range(self._optional(self._nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0)
        found = [self._optional(self._nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, place) for place in places]
        return [(number, device) for number, device in enumerate(found) if device is not None]

    def _describe(self, handle: Any, index: str) -> GpuFacts:
        capability = self._optional(self._nvml.nvmlDeviceGetCudaComputeCapability, handle)
        pci = self._optional(self._nvml.nvmlDeviceGetPciInfo, handle)
        bus_id = pci.busId if pci else ""
        return GpuFacts(
            uuid=self._note_handle(handle),
            index=index,
            hardware_class=self._call(self._nvml.nvmlDeviceGetName, handle),
            memory_bytes=self._read_memory(handle)[0],
            compute_capability=f"{capability[0]}.{capability[1]}" if capability else "",
            pci_bus_id=bus_id.decode() if isinstance(bus_id, bytes) else bus_id,
        )

    def _describe_mig(self, handle: Any, number: int, gpu: GpuFacts) -> GpuFacts:
        memory_bytes = self._read_memory(handle)[0]
        attributes = self._optional(self._nvml.nvmlDeviceGetAttributes_v2, handle)
        return GpuFacts(
            uuid=self._note_handle(handle),
            index=f"{gpu.index}:{number}",
            hardware_class=find_mig_class(self._call(self._nvml.nvmlDeviceGetName, handle), attributes, gpu),
            memory_bytes=memory_bytes,
            compute_capability=gpu.compute_capability,
            pci_bus_id=gpu.pci_bus_id,
            parent_uuid=gpu.uuid,
            gpu_instance=self._optional(self._nvml.nvmlDeviceGetGpuInstanceId, handle),
            compute_instance=self._optional(self._nvml.nvmlDeviceGetComputeInstanceId, handle),
        )

    def _note_handle(self, handle: Any) -> str:
        """The UUID of the device."""
        uuid: str = self._call(self._nvml.nvmlDeviceGetUUID, handle)
        self._handles[uuid] = handle
        return uuid

    def _read_memory(self, handle: Any) -> tuple[int, int]:
        """What processes can have, and what is used of it. Drivers before 510 do not tell what they keep themselves."""
        memory = self._optional(self._nvml.nvmlDeviceGetMemoryInfo, handle, self._nvml.nvmlMemory_v2)
        if memory is None:
            memory = self._call(self._nvml.nvmlDeviceGetMemoryInfo, handle)
        return memory.total - getattr(memory, "reserved", 0), memory.used

    def read(self, gpu: GpuFacts) -> GpuReading:
        try:
            return self._read(gpu.uuid, self._handles[gpu.uuid], self._handles[gpu.parent_uuid or gpu.uuid])
        except nvml_errors.GpuLostError as error:
            return GpuReading(lost=str(error))

    def _read(self, uuid: str, handle: Any, whole: Any) -> GpuReading:
        """`whole`: the GPU that a MIG device is a part of, else the GPU itself."""
        use = self._optional(self._nvml.nvmlDeviceGetUtilizationRates, handle)
        rows = self._optional(self._nvml.nvmlDeviceGetRemappedRows, whole)
        uncorrected, volatile = self._nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, self._nvml.NVML_VOLATILE_ECC
        return GpuReading(
            utilization_percent=use.gpu if use else None,
            memory_used_bytes=self._read_memory(handle)[1],
            processes=self._read_processes(handle, uuid),
            uncorrected_errors=self._optional(self._nvml.nvmlDeviceGetTotalEccErrors, whole, uncorrected, volatile),
            row_remap_failed=bool(rows and rows[3]),
            compute_mode=self._optional(self._nvml.nvmlDeviceGetComputeMode, whole),
            recovery_action=self._read_recovery_action(whole),
        )

    def _read_processes(self, handle: Any, uuid: str) -> tuple[GpuProcess, ...]:
        """Those of MPS are listed apart, by drivers that do so."""
        kinds = ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetMPSComputeRunningProcesses")
        found = {entry.pid: entry.usedGpuMemory for kind in kinds for entry in self._list_processes(kind, handle)}
        samples = self._optional(self._nvml.nvmlDeviceGetProcessUtilization, handle, self._told_until_us.get(uuid, 0))
        shares: dict[int, int] = {}
        for sample in sorted(samples or [], key=lambda sample: sample.timeStamp):
            self._told_until_us[uuid] = sample.timeStamp
            shares[sample.pid] = sample.smUtil
        return tuple(GpuProcess(pid, found[pid], shares.get(pid)) for pid in sorted(found))

    def _list_processes(self, kind: str, handle: Any) -> list[Any]:
        """By the newest version that this driver has: those of before 510 lack the third."""
        for version in (3, 2):
            if (found := self._optional(getattr(self._nvml, f"{kind}_v{version}"), handle)) is not None:
                return list(found)
        return []

    def _read_recovery_action(self, handle: Any) -> int | None:
        field = getattr(self._nvml, "NVML_FI_DEV_GET_GPU_RECOVERY_ACTION", None)
        values = self._optional(self._nvml.nvmlDeviceGetFieldValues, handle, [field]) if field is not None else None
        return int(values[0].value.uiVal) if values and values[0].nvmlReturn == self._nvml.NVML_SUCCESS else None

    def watch_events(self, gpus: Sequence[GpuFacts]) -> bool:
        uuids = {gpu.parent_uuid or gpu.uuid for gpu in gpus}
        return self._events.watch({uuid: self._handles[uuid] for uuid in sorted(uuids)})

    def wait_event(self, timeout_s: float) -> GpuEvent | None:
        return self._events.wait(timeout_s)

    def close(self) -> None:
        self._events.free()
        with suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()
