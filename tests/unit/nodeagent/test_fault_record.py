"""What befell GPUs is kept for an agent that comes back after a crash, until the host boots again."""

from pathlib import Path

import pytest

from nodeagent.devices.fault_record import FaultRecord
from nodeagent.devices.gpus import GpuEvent

EVENTS = (GpuEvent("GPU-aa11", 79), GpuEvent("GPU-aa33", 95, 2, 0), GpuEvent("GPU-aa22", None))


@pytest.fixture
def boot_id(tmp_path: Path) -> Path:
    path = tmp_path / "boot_id"
    path.write_text("5f1c\n")
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gpu-faults.json"


def test_what_was_stored_is_loaded_until_it_is_forgotten(path: Path, boot_id: Path) -> None:
    assert FaultRecord(path, boot_id).load() == ()
    FaultRecord(path, boot_id).store(EVENTS)
    assert FaultRecord(path, boot_id).load() == EVENTS
    FaultRecord(path, boot_id).forget()
    assert FaultRecord(path, boot_id).load() == ()
    FaultRecord(path, boot_id).forget()


def test_what_was_before_the_host_booted_is_over(path: Path, boot_id: Path) -> None:
    FaultRecord(path, boot_id).store(EVENTS)
    boot_id.write_text("77aa\n")
    assert FaultRecord(path, boot_id).load() == ()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "{}", '{"boot_id": "5f1c", "events": [{"gpu": 1}]}', "\udcff"]
)
def test_a_file_that_is_none_of_ours_is_said_to_be_so(
    path: Path, boot_id: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(content.encode(errors="surrogateescape"))
    assert FaultRecord(path, boot_id).load() == ()
    assert f"cannot be read from {path}" in caplog.text


def test_a_host_that_tells_no_boot_keeps_nothing(path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    record = FaultRecord(path, tmp_path / "none")
    record.store(EVENTS)
    assert not path.exists()
    assert "would take its broken GPUs for sound" in caplog.text


def test_a_folder_that_cannot_be_written_to_ends_nothing(boot_id: Path, caplog: pytest.LogCaptureFixture) -> None:
    FaultRecord(boot_id / "no folder" / "file", boot_id).store(EVENTS)
    assert "would take its broken GPUs for sound" in caplog.text


def test_this_host_tells_its_boot(path: Path) -> None:
    FaultRecord(path).store(EVENTS)
    assert FaultRecord(path).load() == EVENTS
