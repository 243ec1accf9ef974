"""What befalls GPUs, as NVML tells it. Source: NVIDIA, "NVML API Reference", "Event Handling Methods"."""

import ctypes
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from nodeagent.devices.gpus import GpuEvent, GpuLibraryError
from nodeagent.devices.nvml_calls import NvmlCalls

_LIBRARY = "libnvidia-ml.so.1"
_NO_INSTANCE = 0xFFFFFFFF


class NvmlEvents:
    def __init__(self, calls: NvmlCalls) -> None:
        self._calls, self._nvml = calls, calls.nvml
        self._set: Any = None
        self._handles: Mapping[str, Any] = {}

    def watch(self, handles: Mapping[str, Any]) -> bool:
        """Of these GPUs, by UUID, and of no others from now on. False where none of them tells events."""
        self.free()
        self._handles = handles
        self._set = self._calls.ask(self._nvml.nvmlEventSetCreate)
        return self._set is not None and sum(self._register(handle) for handle in handles.values()) > 0

    def _register(self, handle: Any) -> bool:
        wanted = self._nvml.nvmlEventTypeXidCriticalError | self._nvml.nvmlEventTypeDoubleBitEccError
        with suppress(GpuLibraryError):  # its readings tell what is wrong with it
            types = wanted & (self._calls.ask(self._nvml.nvmlDeviceGetSupportedEventTypes, handle) or 0)
            if types:
                self._calls.need(self._nvml.nvmlDeviceRegisterEvents, handle, types, self._set)
                return True
        return False

    def wait(self, timeout_s: float) -> GpuEvent | None:
        """None where nothing has happened. Raises GpuLibraryError."""
        event = self._calls.need(self._wait, int(timeout_s * 1000))
        if event is None:
            return None
        xid = int(event.eventData) if event.eventType == self._nvml.nvmlEventTypeXidCriticalError else None
        instances = (event.gpuInstanceId, event.computeInstanceId)
        return GpuEvent(self._find_uuid(event.device), xid, *map(_instance, instances))

    def _find_uuid(self, handle: Any) -> str:
        """Of a GPU that may be lost, so that it does not answer itself."""
        place = _address(handle)
        known = (uuid for uuid, other in self._handles.items() if _address(other) == place)
        return next(known, None) or self._calls.need(self._nvml.nvmlDeviceGetUUID, handle)

    def _wait(self, timeout_ms: int) -> Any:
        try:
            return self._nvml.nvmlEventSetWait_v2(self._set, timeout_ms)
        except self._nvml.NVMLError_Timeout:
            return None
        except self._nvml.NVMLError_FunctionNotFound:
            return self._wait_v1(timeout_ms)

    def _wait_v1(self, timeout_ms: int) -> Any:
        """Of drivers before 450, which know no MIG; the package has no call for it."""
        event = self._nvml.c_nvmlEventData_t()
        event.gpuInstanceId = event.computeInstanceId = _NO_INSTANCE
        result = ctypes.CDLL(_LIBRARY).nvmlEventSetWait(self._set, ctypes.byref(event), ctypes.c_uint(timeout_ms))
        if result == self._nvml.NVML_ERROR_TIMEOUT:
            return None
        if result != self._nvml.NVML_SUCCESS:
            raise self._nvml.NVMLError(result)
        return event

    def free(self) -> None:
        if self._set is not None:
            with suppress(self._nvml.NVMLError):
                self._nvml.nvmlEventSetFree(self._set)
            self._set = None


def _address(handle: Any) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value


def _instance(number: int) -> int | None:
    return None if number == _NO_INSTANCE else number
