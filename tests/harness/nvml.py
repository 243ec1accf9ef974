"""A host's GPUs, played by a stand-in for NVIDIA's library: gcc builds it, programs find it by their environment.

stub = NvmlStub(tmp_path, a_gpu(0), a_gpu(1))
stub.use(monkeypatch)          # every process that is started from here on finds it
stub.raise_xid(stub.gpus[0].uuid, 79)
stub.set_gpus(replace(stub.gpus[0], uncorrected_errors=1), stub.gpus[1])
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

_SOURCE = Path(__file__).parents[1] / "stubs" / "nvml" / "nvml_stub.c"
_LIBRARY = "libnvidia-ml.so.1"
_XID, _DOUBLE_BIT_ECC = 8, 2
NO_INSTANCE = 0xFFFFFFFF
DRIVER = "550.54.14"


@dataclass(frozen=True)
class StubProcess:
    """On a GPU."""

    pid: int
    memory_bytes: int = 0
    sm_percent: int = 0


@dataclass(frozen=True)
class StubMig:
    """A MIG device of the GPU that it is listed in."""

    uuid: str
    name: str
    memory_bytes: int
    gpu_instance: int
    compute_instance: int = 0
    processes: tuple[StubProcess, ...] = ()
    used_bytes: int = 0
    # Of the GPU's seven: its GPU instance's, and its compute instance's.
    slices: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class StubGpu:
    """`is_mig`: None where it knows no MIG. `mig_error`: the NVML error that asking for that ends with, `fails`: that
    each call on it ends with; 0: none.
    """

    uuid: str
    name: str = "NVIDIA A100-SXM4-40GB"
    memory_bytes: int = 40 << 30
    compute_capability: str = "8.0"
    pci_bus_id: str = "00000000:3B:00.0"
    reserved_bytes: int = 0
    is_mig: bool | None = None
    mig_error: int = 0
    migs: tuple[StubMig, ...] = ()
    used_bytes: int = 0
    utilization_percent: int = 0
    processes: tuple[StubProcess, ...] = ()
    uncorrected_errors: int = 0
    # Corrected, uncorrected, whether a remapping waits for a reset, whether one has failed.
    remapped_rows: tuple[int, int, int, int] = (0, 0, 0, 0)
    # nvmlDeviceGpuRecoveryAction_t; None: not told.
    recovery_action: int | None = None
    compute_mode: int = 0
    fails: int = 0


def a_gpu(number: int) -> StubGpu:
    """An A100, healthy and idle."""
    return StubGpu(uuid=f"GPU-00000000-0000-0000-0000-{number:012d}", pci_bus_id=f"00000000:{0x3B + number:02X}:00.0")


def a_gpu_in_mig_mode(number: int) -> StubGpu:
    """With two MIG devices, of 20 and of 5 GB."""
    migs = tuple(
        StubMig(
            uuid=f"MIG-00000000-0000-0000-{number:04d}-{place:012d}",
            name=f"NVIDIA A100-SXM4-40GB MIG {profile}",
            memory_bytes=memory_bytes,
            gpu_instance=place + 1,
        )
        for place, (profile, memory_bytes) in enumerate([("3g.20gb", 19968 << 20), ("1g.5gb", 4864 << 20)])
    )
    return StubGpu(uuid=f"GPU-00000000-0000-0000-1111-{number:012d}", is_mig=True, migs=migs)


class NvmlStub:
    """Skips the test where there is no gcc. `without`: names of functions that the library does not have."""

    def __init__(self, folder: Path, *gpus: StubGpu, without: Sequence[str] = (), driver: str = DRIVER) -> None:
        self.folder, self._driver = folder / "nvml", driver
        self.folder.mkdir()
        self._state = self.folder / "state"
        self._build(without)
        self.environment = {
            "LD_LIBRARY_PATH": os.pathsep.join(filter(None, [str(self.folder), os.environ.get("LD_LIBRARY_PATH")])),
            "NVML_STUB_STATE": str(self._state),
        }
        self.set_gpus(*gpus)

    def _build(self, without: Sequence[str]) -> None:
        if (gcc := shutil.which("gcc")) is None:
            pytest.skip("gcc is not installed, and the stand-in for NVML is built with it")
        flags = ["-std=c11", "-D_DEFAULT_SOURCE", "-shared", "-fPIC", f"-Wl,-soname,{_LIBRARY}"]
        flags += [f"-DNO_{function}" for function in without]
        subprocess.run([gcc, *flags, "-o", self.folder / _LIBRARY, _SOURCE], check=True, timeout=60)

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)

    def set_gpus(self, *gpus: StubGpu, init: int = 0, hang: bool = False) -> None:
        """What each call tells from now on. `init`: the error that starting NVML ends with. `hang`: no call returns."""
        self.gpus = gpus
        lines = [f"driver={self._driver}", f"init={init}", f"hang={int(hang)}"]
        lines += [line for gpu in gpus for line in _describe_gpu(gpu)]
        draft = self._state.with_suffix(".draft")
        draft.write_text("".join(f"{line}\n" for line in lines))
        draft.replace(self._state)

    def raise_xid(
        self, uuid: str, xid: int, gpu_instance: int = NO_INSTANCE, compute_instance: int = NO_INSTANCE
    ) -> None:
        self._raise(uuid, _XID, xid, gpu_instance, compute_instance)

    def raise_double_bit_ecc(self, uuid: str) -> None:
        self._raise(uuid, _DOUBLE_BIT_ECC, 0, NO_INSTANCE, NO_INSTANCE)

    def _raise(self, uuid: str, *numbers: int) -> None:
        with self._state.with_suffix(".events").open("a") as events:
            events.write(" ".join(map(str, [uuid, *numbers])) + "\n")

    def calls(self, pid: int | None = None) -> list[str]:
        """Of all processes, or of one: "init", "shutdown", "create event set" and "free event set", as they came."""
        path = self._state.with_suffix(".calls")
        entries = [line.split(" ", 1) for line in path.read_text().splitlines()] if path.exists() else []
        return [what for caller, what in entries if pid in (None, int(caller))]


def _describe_gpu(gpu: StubGpu) -> list[str]:
    mig = -1 if gpu.is_mig is None else int(gpu.is_mig)
    lines = ["[gpu]", f"uuid={gpu.uuid}", f"name={gpu.name}", f"memory={gpu.memory_bytes}", f"used={gpu.used_bytes}"]
    lines += [f"cc={gpu.compute_capability}", f"bus={gpu.pci_bus_id}", f"mig={mig}", f"util={gpu.utilization_percent}"]
    lines += [f"ecc={gpu.uncorrected_errors}", f"remap={','.join(map(str, gpu.remapped_rows))}"]
    lines += [
        f"recovery={-1 if gpu.recovery_action is None else gpu.recovery_action}",
        f"reserved={gpu.reserved_bytes}",
        f"compute_mode={gpu.compute_mode}",
        f"mig_error={gpu.mig_error}",
        f"fails={gpu.fails}",
    ]
    return [
        *lines,
        *_describe_processes(gpu.processes),
        *(line for device in gpu.migs for line in _describe_mig(device)),
    ]


def _describe_mig(mig: StubMig) -> list[str]:
    lines = ["[mig]", f"uuid={mig.uuid}", f"name={mig.name}", f"memory={mig.memory_bytes}", f"used={mig.used_bytes}"]
    return [
        *lines,
        f"gi={mig.gpu_instance}",
        f"ci={mig.compute_instance}",
        f"slices={mig.slices[0]},{mig.slices[1]}",
        *_describe_processes(mig.processes),
    ]


def _describe_processes(processes: Sequence[StubProcess]) -> list[str]:
    return [f"proc={process.pid},{process.memory_bytes},{process.sm_percent}" for process in processes]
