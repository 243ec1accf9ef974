"""How each GPU is, after what was told of it."""

import logging

import pytest

from nodeagent.devices.gpu_states import GpuStates
from nodeagent.devices.gpus import GpuCondition, GpuEvent, GpuProcess, GpuReading
from tests.unit.nodeagent.gpu_pieces import BIG_MIG, GPU, OTHER, SMALL_MIG


def faults(states: GpuStates) -> dict[str, str]:
    return {condition.uuid: condition.fault for condition in states.conditions if condition.fault}


def test_a_reading_is_told_as_it_is() -> None:
    states = GpuStates([GPU])
    assert states.conditions == (GpuCondition("GPU-aa11"),)
    assert not states.note_reading(GPU, GpuReading(37, 5 << 30, (GpuProcess(1), GpuProcess(2))))
    assert states.conditions == (GpuCondition("GPU-aa11", "", 37, 5 << 30, 2),)


def test_a_fatal_event_takes_out_the_gpu_and_no_other_and_stays() -> None:
    states = GpuStates([GPU, OTHER])
    assert states.note_event(GpuEvent("GPU-aa11", 79))
    assert list(faults(states)) == ["GPU-aa11"]
    assert not states.note_reading(GPU, GpuReading(recovery_action=0))
    assert "XID 79" in faults(states)["GPU-aa11"]


def test_the_first_event_is_the_reason() -> None:
    states = GpuStates([GPU])
    states.note_event(GpuEvent("GPU-aa11", 48))
    assert not states.note_event(GpuEvent("GPU-aa11", 95))
    assert "XID 48" in faults(states)["GPU-aa11"]


def test_an_event_of_a_mig_device_leaves_the_others_of_its_gpu_in_service() -> None:
    states = GpuStates([BIG_MIG, SMALL_MIG])
    states.note_event(GpuEvent("GPU-aa33", 95, 2, 0))
    assert list(faults(states)) == ["MIG-bb22"]


def test_a_fault_that_is_read_goes_when_it_is_no_longer_read() -> None:
    states = GpuStates([GPU])
    assert states.note_reading(GPU, GpuReading(recovery_action=1))
    assert states.note_reading(GPU, GpuReading(recovery_action=0))
    assert [states.note_unreadable(GPU, "its driver says: Unknown Error") for _ in range(3)] == [False, False, True]
    assert faults(states) == {"GPU-aa11": "its state cannot be read: its driver says: Unknown Error"}
    assert states.note_reading(GPU, GpuReading())
    assert faults(states) == {}


def test_one_reading_that_fails_is_no_fault_and_a_gpu_that_was_never_read_is_one() -> None:
    states = GpuStates([GPU, OTHER])
    states.note_reading(GPU, GpuReading())
    for _ in range(4):
        assert not states.note_unreadable(GPU, "its driver says: Timeout")
        assert not states.note_unreadable(GPU, "its driver says: Timeout")
        assert not states.note_reading(GPU, GpuReading())
    assert states.note_unreadable(OTHER, "its driver says: Unknown Error")
    assert list(faults(states)) == ["GPU-aa22"]


def test_a_gpu_for_one_process_is_in_service_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    states = GpuStates([GPU])
    for _ in range(3):
        assert not states.note_reading(GPU, GpuReading(compute_mode=3))
    assert faults(states) == {}
    assert caplog.text.count("GPU GPU-aa11: its compute mode is Exclusive_Process") == 1


def test_a_processs_error_is_logged_with_the_processes_there(caplog: pytest.LogCaptureFixture) -> None:
    states = GpuStates([GPU])
    states.note_reading(GPU, GpuReading(processes=(GpuProcess(4711, sm_percent=61), GpuProcess(4712))))
    assert not states.note_event(GpuEvent("GPU-aa11", 31))
    assert faults(states) == {}
    assert "XID 31" in caplog.text
    assert "processes on it: 4711 (its kernels ran 61 % of the time), 4712" in caplog.text


@pytest.mark.parametrize("told", [74, None])
def test_an_ignored_xid_is_logged_and_no_fault(caplog: pytest.LogCaptureFixture, told: int | None) -> None:
    states = GpuStates([GPU], ignored_xids={74, 48})
    assert not states.note_event(GpuEvent("GPU-aa11", told))
    assert "it stays in service" in caplog.text
    assert states.events == ()


def test_what_made_a_fault_is_kept_once_and_of_gpus_that_are_not_offered_too() -> None:
    states = GpuStates([GPU])
    for event in (
        GpuEvent("GPU-aa11", 79),
        GpuEvent("GPU-aa22", 62),
        GpuEvent("GPU-aa11", 79),
        GpuEvent("GPU-aa11", 31),
    ):
        states.note_event(event)
    assert states.events == (GpuEvent("GPU-aa11", 79), GpuEvent("GPU-aa22", 62))
    assert list(faults(states)) == ["GPU-aa11"]


def test_a_fault_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    states = GpuStates([GPU])
    for _ in range(3):
        states.note_reading(GPU, GpuReading(row_remap_failed=True))
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
