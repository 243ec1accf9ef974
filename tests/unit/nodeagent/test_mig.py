"""How MIG devices are called."""

from types import SimpleNamespace

import pytest

from nodeagent.devices.gpus import GpuFacts
from nodeagent.devices.mig import find_mig_class

A100 = GpuFacts("GPU-1", "0", "NVIDIA A100-SXM4-40GB", 40960 << 20)
H100 = GpuFacts("GPU-2", "1", "NVIDIA H100 80GB HBM3", 81559 << 20)


def test_the_drivers_own_name_is_kept() -> None:
    name = "NVIDIA A100-SXM4-40GB MIG 1g.5gb"
    assert find_mig_class(name, None, A100) == name


@pytest.mark.parametrize(
    ("gpu", "slices", "memory_mib", "profile"),
    [
        (A100, (1, 1), 4864, "1g.5gb"),
        (A100, (3, 3), 19968, "3g.20gb"),
        (A100, (3, 1), 19968, "1c.3g.20gb"),
        (A100, (7, 7), 40448, "7g.40gb"),
        (H100, (1, 1), 9984, "1g.10gb"),
        (H100, (1, 1), 20096, "1g.20gb"),
        (H100, (4, 4), 40448, "4g.40gb"),
    ],
)
def test_a_driver_that_tells_no_profile_leaves_it_to_be_computed(
    gpu: GpuFacts, slices: tuple[int, int], memory_mib: int, profile: str
) -> None:
    attributes = SimpleNamespace(
        gpuInstanceSliceCount=slices[0], computeInstanceSliceCount=slices[1], memorySizeMB=memory_mib
    )
    assert find_mig_class(gpu.hardware_class, attributes, gpu) == f"{gpu.hardware_class} MIG {profile}"


def test_without_anything_to_go_by_it_is_a_mig_device() -> None:
    assert find_mig_class("NVIDIA A100-SXM4-40GB", None, A100) == "NVIDIA A100-SXM4-40GB MIG"
