"""How MIG devices are called. Source: NVIDIA, "Multi-Instance GPU User Guide", "Device Enumeration" and "Profiles"."""

import math
from typing import Any

from nodeagent.devices.gpus import GpuFacts

_MIB, _GIB = 1 << 20, 1 << 30
# Memory of a GPU is divided in this many parts.
_MEMORY_SLICES = 8


def find_mig_class(name: str, attributes: Any, gpu: GpuFacts) -> str:
    """The hardware class of a MIG device: "NVIDIA A100-SXM4-40GB MIG 3g.20gb".

    `name`: as its driver calls it, which older drivers do as the GPU. `attributes`: a nvmlDeviceAttributes_t, or None
    where the driver tells none.
    """
    if "MIG" in name:
        return name
    return f"{name} MIG {_name_profile(attributes, gpu.memory_bytes)}" if attributes else f"{name} MIG"


def _name_profile(attributes: Any, whole_bytes: int) -> str:
    """The memory in the name is the device's share of the GPU's, in eighths, rounded up."""
    slices = attributes.gpuInstanceSliceCount
    share = math.ceil(attributes.memorySizeMB * _MIB / whole_bytes * _MEMORY_SLICES) / _MEMORY_SLICES
    profile = f"{slices}g.{round(share * math.ceil(whole_bytes / _GIB))}gb"
    compute = attributes.computeInstanceSliceCount
    return profile if compute == slices else f"{compute}c.{profile}"
