"""The binding to NVML, against a stand-in for the library: what is told, and what an older driver does not tell."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.harness.nvml import NvmlStub, StubProcess, a_gpu, a_gpu_in_mig_mode

ROOT = Path(__file__).parents[3]
GPU_IS_LOST, RESET_REQUIRED, UNKNOWN = 15, 16, 999


def read_gpus(environment: dict[str, str], then: Callable[[], object] = lambda: None) -> Any:
    """`then` is done between the first reading and the waiting for an event."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.nodeagent.print_gpus"],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if line == "watching\n":
        then()
        line, _ = process.communicate("\n", timeout=30)
    else:
        process.communicate(timeout=30)
    assert process.returncode == 0
    return json.loads(line)


def test_everything_is_told_of_a_gpu(tmp_path: Path) -> None:
    processes = (StubProcess(101, 3 << 30, 40), StubProcess(102, 1 << 30, 7))
    gpu = replace(a_gpu(0), reserved_bytes=1 << 30, used_bytes=4 << 30, utilization_percent=47, processes=processes)
    stub = NvmlStub(tmp_path, gpu, a_gpu(1))
    told = read_gpus(stub.environment)
    assert told["found"]["driver_version"] == "550.54.14"
    first, second = told["found"]["gpus"]
    assert first == {
        "uuid": gpu.uuid,
        "index": "0",
        "hardware_class": "NVIDIA A100-SXM4-40GB",
        "memory_bytes": 39 << 30,
        "compute_capability": "8.0",
        "pci_bus_id": "00000000:3B:00.0",
        "parent_uuid": "",
        "gpu_instance": None,
        "compute_instance": None,
    }
    assert (second["index"], second["memory_bytes"]) == ("1", 40 << 30)
    assert told["readings"][gpu.uuid] == {
        "utilization_percent": 47,
        "memory_used_bytes": 4 << 30,
        "processes": [
            {"pid": 101, "memory_bytes": 3 << 30, "sm_percent": 40},
            {"pid": 102, "memory_bytes": 1 << 30, "sm_percent": 7},
        ],
        "uncorrected_errors": 0,
        "row_remap_failed": False,
        "compute_mode": 0,
        "recovery_action": None,
        "lost": "",
    }
    assert told["has_events"]
    assert stub.calls() == ["init", "create event set", "free event set", "shutdown"]


def test_of_a_gpu_in_mig_mode_its_mig_devices_are_offered_and_it_is_not(tmp_path: Path) -> None:
    gpu = a_gpu_in_mig_mode(0)
    stub = NvmlStub(tmp_path, gpu)
    big, small = read_gpus(stub.environment)["found"]["gpus"]
    assert (big["uuid"], big["index"], big["parent_uuid"]) == (gpu.migs[0].uuid, "0:0", gpu.uuid)
    assert (big["hardware_class"], big["memory_bytes"]) == ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", 19968 << 20)
    assert (small["hardware_class"], small["compute_capability"]) == ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "8.0")
    assert (small["gpu_instance"], small["compute_instance"]) == (2, 0)


def test_a_driver_that_calls_mig_devices_as_their_gpu_is_helped_out(tmp_path: Path) -> None:
    gpu = a_gpu_in_mig_mode(0)
    migs = [replace(mig, name=gpu.name, slices=slices) for mig, slices in zip(gpu.migs, [(3, 3), (1, 1)], strict=True)]
    stub = NvmlStub(tmp_path, replace(gpu, migs=tuple(migs)))
    found = read_gpus(stub.environment)["found"]["gpus"]
    assert [told["hardware_class"].removeprefix(f"{gpu.name} MIG ") for told in found] == ["3g.20gb", "1g.5gb"]


def test_mig_mode_without_mig_devices_is_said_to(tmp_path: Path) -> None:
    stub = NvmlStub(tmp_path, replace(a_gpu(0), is_mig=True), a_gpu(1))
    found = read_gpus(stub.environment)["found"]
    assert [gpu["index"] for gpu in found["gpus"]] == ["1"]
    assert found["left_out"][0].startswith("GPU 0 is not offered: it is in MIG mode and has no MIG devices; create")


def test_a_gpu_of_which_nobody_knows_whether_it_is_in_mig_mode_is_not_offered(tmp_path: Path) -> None:
    stub = NvmlStub(tmp_path, replace(a_gpu(0), mig_error=UNKNOWN), a_gpu(1))
    found = read_gpus(stub.environment)["found"]
    assert [gpu["index"] for gpu in found["gpus"]] == ["1"]
    assert found["left_out"] == ["GPU 0 is not offered: its driver says: Unknown Error"]


@pytest.mark.parametrize(
    ("missing", "lost"),
    [
        (["nvmlDeviceGetMigMode"], {}),
        (["nvmlDeviceGetMemoryInfo_v2"], {}),
        (["nvmlDeviceGetUtilizationRates"], {"utilization_percent": None}),
        (["nvmlDeviceGetProcessUtilization"], {"processes": [{"pid": 7, "memory_bytes": 5, "sm_percent": None}]}),
        (
            [
                "nvmlDeviceGetComputeRunningProcesses_v3",
                "nvmlDeviceGetComputeRunningProcesses_v2",
                "nvmlDeviceGetMPSComputeRunningProcesses_v3",
            ],
            {"processes": []},
        ),
        (["nvmlDeviceGetMPSComputeRunningProcesses_v3"], {}),
        (["nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetMPSComputeRunningProcesses_v3"], {}),
        (["nvmlDeviceGetTotalEccErrors"], {"uncorrected_errors": None}),
        (["nvmlDeviceGetRemappedRows"], {"row_remap_failed": False}),
        (["nvmlDeviceGetFieldValues"], {"recovery_action": None}),
        (["nvmlDeviceGetComputeMode"], {"compute_mode": None}),
    ],
)
def test_a_function_that_is_missing_costs_what_it_tells_and_no_more(
    tmp_path: Path, missing: list[str], lost: dict[str, Any]
) -> None:
    gpu = replace(
        a_gpu(0),
        utilization_percent=3,
        used_bytes=5,
        processes=(StubProcess(7, 5, 9),),
        uncorrected_errors=1,
        remapped_rows=(0, 1, 0, 1),
        recovery_action=2,
        compute_mode=2,
    )
    stub = NvmlStub(tmp_path, gpu, without=missing)
    everything = {
        "utilization_percent": 3,
        "memory_used_bytes": 5,
        "processes": [{"pid": 7, "memory_bytes": 5, "sm_percent": 9}],
        "uncorrected_errors": 1,
        "row_remap_failed": True,
        "compute_mode": 2,
        "recovery_action": 2,
        "lost": "",
    }
    assert read_gpus(stub.environment)["readings"][gpu.uuid] == {**everything, **lost}


def test_facts_that_are_not_told_are_left_empty(tmp_path: Path) -> None:
    without = ["nvmlDeviceGetCudaComputeCapability", "nvmlDeviceGetPciInfo_v3", "nvmlSystemGetDriverVersion"]
    stub = NvmlStub(tmp_path, a_gpu(0), without=without)
    found = read_gpus(stub.environment)["found"]
    assert found["driver_version"] == ""
    assert (found["gpus"][0]["compute_capability"], found["gpus"][0]["pci_bus_id"]) == ("", "")


@pytest.mark.parametrize("without", [[], ["nvmlEventSetWait_v2"]], ids=["today's", "the first version's"])
def test_an_event_is_told_with_its_gpu_and_number(tmp_path: Path, without: list[str]) -> None:
    stub = NvmlStub(tmp_path, a_gpu(0), a_gpu(1), without=without)
    told = read_gpus(stub.environment, lambda: stub.raise_xid(stub.gpus[1].uuid, 62))
    assert told["event"] == {"uuid": stub.gpus[1].uuid, "xid": 62, "gpu_instance": None, "compute_instance": None}


def test_an_event_names_its_mig_device(tmp_path: Path) -> None:
    gpu = a_gpu_in_mig_mode(0)
    stub = NvmlStub(tmp_path, gpu)
    told = read_gpus(stub.environment, lambda: stub.raise_xid(gpu.uuid, 95, 2, 0))
    assert told["event"] == {"uuid": gpu.uuid, "xid": 95, "gpu_instance": 2, "compute_instance": 0}


def test_a_double_bit_error_has_no_number(tmp_path: Path) -> None:
    stub = NvmlStub(tmp_path, a_gpu(0))
    told = read_gpus(stub.environment, lambda: stub.raise_double_bit_ecc(stub.gpus[0].uuid))
    assert told["event"]["xid"] is None


@pytest.mark.parametrize("without", [[], ["nvmlEventSetWait_v2"]], ids=["today's", "the first version's"])
def test_without_an_event_waiting_ends(tmp_path: Path, without: list[str]) -> None:
    assert read_gpus(NvmlStub(tmp_path, a_gpu(0), without=without).environment)["event"] is None


def test_a_driver_without_events_says_so(tmp_path: Path) -> None:
    stub = NvmlStub(tmp_path, a_gpu(0), without=["nvmlEventSetCreate"])
    assert not read_gpus(stub.environment)["has_events"]
    assert stub.calls() == ["init", "shutdown"]


@pytest.mark.parametrize("error", [GPU_IS_LOST, RESET_REQUIRED])
def test_a_gpu_that_is_lost_in_the_middle_is_so_and_its_last_event_is_told(tmp_path: Path, error: int) -> None:
    stub = NvmlStub(tmp_path, a_gpu(0), a_gpu(1))
    lost, other = stub.gpus

    def lose() -> None:
        stub.raise_xid(lost.uuid, 79)
        stub.set_gpus(replace(lost, fails=error), other)

    told = read_gpus(stub.environment, lose)
    assert (told["event"]["uuid"], told["event"]["xid"]) == (lost.uuid, 79)
    assert told["after"][lost.uuid]["lost"] != ""
    assert told["after"][other.uuid]["lost"] == ""


def test_a_gpu_that_was_lost_before_is_left_out_with_the_reason(tmp_path: Path) -> None:
    stub = NvmlStub(tmp_path, replace(a_gpu(0), fails=GPU_IS_LOST), a_gpu(1))
    found = read_gpus(stub.environment)["found"]
    assert [gpu["index"] for gpu in found["gpus"]] == ["1"]
    assert found["left_out"] == [
        "GPU 0 is not offered: it has fallen off the bus, or cannot be reached otherwise; reboot the host"
    ]


@pytest.mark.parametrize(
    ("init", "words", "is_absent"),
    [
        (9, "NVIDIA's driver is not loaded", True),
        (18, "of different versions; reboot the host", False),
        (4, "may not open /dev/nvidia*", False),
        (UNKNOWN, "NVIDIA's driver does not work: Unknown Error", False),
    ],
)
def test_a_driver_that_does_not_start_is_said_to_be_what_it_is(
    tmp_path: Path, init: int, words: str, is_absent: bool
) -> None:
    stub = NvmlStub(tmp_path)
    stub.set_gpus(a_gpu(0), init=init)
    told = read_gpus(stub.environment)
    assert words in told["error"]
    assert told["is_absent"] is is_absent
    assert stub.calls() == []


def test_a_driver_of_long_ago_is_too_old(tmp_path: Path) -> None:
    told = read_gpus(NvmlStub(tmp_path, a_gpu(0), without=["nvmlInitWithFlags"]).environment)
    assert told == {"error": "NVIDIA's driver is too old; install 410 or newer", "is_absent": False}
