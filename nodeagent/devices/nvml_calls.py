"""Calls of NVML whose errors say what is wrong and what to do."""

from collections.abc import Callable
from typing import Any, TypeVar

from nodeagent.devices.nvml_errors import FUNCTION_NOT_FOUND, LOST, NOT_SUPPORTED, explain_call

T = TypeVar("T")


class NvmlCalls:
    """`nvml`: the module pynvml, initialized."""

    def __init__(self, nvml: Any) -> None:
        self.nvml = nvml

    def need(self, function: Callable[..., T], *arguments: Any) -> T:
        """Raises GpuLibraryError where it fails."""
        try:
            return function(*arguments)
        except self.nvml.NVMLError as error:
            raise explain_call(error.value, str(error)) from None

    def ask_strictly(self, function: Callable[..., T], *arguments: Any) -> T | None:
        """None where this driver, or this GPU, has no such thing. Raises GpuLibraryError where it fails otherwise."""
        try:
            return function(*arguments)
        except self.nvml.NVMLError as error:
            if error.value in (NOT_SUPPORTED, FUNCTION_NOT_FOUND):
                return None
            raise explain_call(error.value, str(error)) from None

    def ask(self, function: Callable[..., T], *arguments: Any) -> T | None:
        """None where it is not told, for whatever reason but a GPU that is lost: then it raises GpuLostError."""
        try:
            return function(*arguments)
        except self.nvml.NVMLError as error:
            if error.value in LOST:
                raise explain_call(error.value, str(error)) from None
            return None
