"""What runs on a real GPU only. Alone: `python -m pytest tests/gpu`."""

import asyncio
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from nodeagent.devices.mps_control import PROGRAM
from nodeagent.devices.mps_daemon import MpsDaemon, MpsTimes
from nodeagent.devices.mps_folders import choose_folders
from tests.gpu import cuda_driver
from tests.gpu.client import Client

StartClient = Callable[[Mapping[str, str]], Client]


def find_daemons(uuid: str) -> list[int]:
    """Process-ids of the MPS control daemons that were started for this GPU alone."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()  # the kernel's name of it ends before it differs from its server's
            if words and Path(words[0]).name == PROGRAM and process.environ().get("CUDA_VISIBLE_DEVICES") == uuid:
                found.append(process.pid)
        except psutil.Error:
            continue  # it has ended meanwhile
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture
def uuid() -> str:
    """Of the first GPU."""
    if not cuda_driver.is_there():
        pytest.skip("there is no NVIDIA driver here: libcuda.so.1 cannot be loaded")
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    pynvml.nvmlInit()
    try:
        if not pynvml.nvmlDeviceGetCount():
            pytest.skip("the driver knows no GPU here")
        return str(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(0)))
    finally:
        pynvml.nvmlShutdown()


@pytest.fixture
def daemon(uuid: str, tmp_path: Path) -> Iterator[MpsDaemon]:
    """Not started."""
    program = shutil.which(PROGRAM)
    if program is None:
        pytest.skip(f"{PROGRAM} is not on PATH")
    daemon = MpsDaemon(program, uuid, choose_folders(tmp_path / "mps", uuid), tmp_path / "record", MpsTimes())
    yield daemon
    asyncio.run(daemon.stop())


@pytest.fixture
def mps(daemon: MpsDaemon) -> MpsDaemon:
    """Started."""
    asyncio.run(daemon.start())
    return daemon


@pytest.fixture
def start_client() -> Iterator[StartClient]:
    clients: list[Client] = []

    def start(environment: Mapping[str, str]) -> Client:
        clients.append(Client(environment))
        return clients[-1]

    yield start
    for client in clients:
        client.kill()
