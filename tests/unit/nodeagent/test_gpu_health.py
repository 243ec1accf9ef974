"""What takes a GPU out of service, and what does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.devices.gpu_health import find_event_fault, find_hit, find_reading_fault
from nodeagent.devices.gpus import GpuEvent, GpuFacts, GpuReading
from nodeagent.devices.xids import Blame, explain_xid
from tests.unit.nodeagent.gpu_pieces import BIG_MIG, GPU, OTHER, SMALL_MIG


@pytest.mark.parametrize("xid", [8, 13, 25, 31, 32, 43, 45, 68, 69, 94])
def test_what_a_process_did_leaves_the_gpu_in_service(xid: int) -> None:
    assert explain_xid(xid).blame is Blame.APPLICATION
    assert find_event_fault(GpuEvent("GPU-1", xid)) == ""


@pytest.mark.parametrize("xid", [14, 37, 38, 44, 63, 92, 106, 144, 150, 153, 154, 160, 163, 171])
def test_a_notice_leaves_it_in_service(xid: int) -> None:
    assert explain_xid(xid).blame is Blame.NOTICE
    assert find_event_fault(GpuEvent("GPU-1", xid)) == ""


@pytest.mark.parametrize("xid", [46, 48, 62, 64, 74, 79, 95, 109, 110, 119, 120, 136, 140, 143, 158, 999])
def test_what_only_a_person_can_mend_takes_it_out_and_says_what_to_do(xid: int) -> None:
    fault = find_event_fault(GpuEvent("GPU-1", xid))
    assert fault.startswith(f"XID {xid}: ")
    assert "reboot the host" in fault
    assert fault.endswith(", then start the agent again")


def test_the_sentence_of_a_gpu_off_the_bus() -> None:
    assert find_event_fault(GpuEvent("GPU-1", 79)) == (
        "XID 79: it has fallen off the bus; look at its slot and power supply, reboot the host, "
        "then start the agent again"
    )


@given(st.integers(0, 400))
def test_every_sentence_is_short_enough_for_the_controller_to_keep(xid: int) -> None:
    assert len(find_event_fault(GpuEvent("GPU-1", xid))) <= 300


def test_an_xid_that_the_operator_ignores_leaves_it_in_service() -> None:
    assert find_event_fault(GpuEvent("GPU-1", 74), ignored_xids={74}) == ""
    assert find_event_fault(GpuEvent("GPU-1", 79), ignored_xids={74}) != ""


def test_a_double_bit_error_takes_it_out_as_its_xid_does() -> None:
    told_apart = find_event_fault(GpuEvent("GPU-1", None))
    assert "double-bit ECC" in told_apart
    assert told_apart == find_event_fault(GpuEvent("GPU-1", 48))
    assert find_event_fault(GpuEvent("GPU-1", None), ignored_xids={48}) == ""


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        (GpuReading(), ""),
        (GpuReading(100, 40 << 30, uncorrected_errors=0, recovery_action=0), ""),
        (GpuReading(lost="it is lost; reboot the host"), "it is lost; reboot the host, then start the agent again"),
        (GpuReading(row_remap_failed=True), "row remapping failed"),
        (GpuReading(compute_mode=2), "its compute mode is Prohibited"),
        (GpuReading(compute_mode=0), ""),
        (GpuReading(compute_mode=3), ""),
        (GpuReading(recovery_action=1), "its driver asks for this: stop the agent and reset the GPU"),
        (GpuReading(recovery_action=2), "reboot the host"),
        (GpuReading(recovery_action=4), "when its processes have ended, stop the agent and reset the GPU"),
        (GpuReading(recovery_action=77), "recovery action 77"),
        # Peer-to-peer traffic is not the yard's.
        (GpuReading(recovery_action=3), ""),
        (GpuReading(uncorrected_errors=2), "2 errors that could not be corrected"),
        # The driver knows better than a count: it has contained them.
        (GpuReading(uncorrected_errors=2, recovery_action=0), ""),
    ],
)
def test_readings_and_what_they_say(reading: GpuReading, words: str) -> None:
    fault = find_reading_fault(reading)
    assert bool(fault) is bool(words)
    assert words in fault


@pytest.mark.parametrize(
    ("event", "hit"),
    [
        (GpuEvent("GPU-aa11", 79), [GPU]),
        (GpuEvent("GPU-aa11", 79, 0, 0), [GPU]),  # no MIG device of it is offered, whatever the event names
        (GpuEvent("GPU-aa33", 79), [BIG_MIG, SMALL_MIG]),
        (GpuEvent("GPU-aa33", 95, 2, 0), [SMALL_MIG]),
        (GpuEvent("GPU-aa33", 95, 1), [BIG_MIG]),
        (GpuEvent("GPU-aa33", 95, 1, 3), []),
        (GpuEvent("GPU-aa33", 95, 9, 0), []),  # of a MIG device that is not offered
        (GpuEvent("GPU-ffff", 79), []),
    ],
)
def test_an_event_hits_the_mig_device_that_it_names_or_all_of_the_gpu(event: GpuEvent, hit: list[GpuFacts]) -> None:
    assert find_hit(event, [GPU, OTHER, BIG_MIG, SMALL_MIG]) == hit
