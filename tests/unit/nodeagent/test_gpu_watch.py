"""The thread that asks the driver."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nodeagent.devices.fault_record import FaultRecord
from nodeagent.devices.gpu_selection import Selection
from nodeagent.devices.gpu_watch import GpuWatch
from nodeagent.devices.gpus import GpuEvent, GpuLibraryError, GpuList, GpuReading
from tests.unit.nodeagent.gpu_pieces import GPU, OTHER, PlayedLibrary


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def all_of(found: GpuList) -> Selection:
    return Selection(found.gpus)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not come"
        threading.Event().wait(0.002)


def until_it_waits(library: PlayedLibrary) -> None:
    """For events, anew: by then the thread has looked at the clock for when the next reading is due."""
    before = library.wait_count
    until(lambda: library.wait_count > before)


@pytest.fixture
def library() -> PlayedLibrary:
    return PlayedLibrary(GPU, OTHER)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(library: PlayedLibrary, clock: Clock) -> Iterator[GpuWatch]:
    watch = GpuWatch(lambda: library, all_of, clock=clock)
    yield watch
    library.answers.set()
    watch.stop()


def faults(watch: GpuWatch) -> list[str]:
    return [condition.fault for condition in watch.conditions()]


def test_every_gpu_has_been_read_when_it_has_started(watch: GpuWatch, library: PlayedLibrary) -> None:
    library.readings["GPU-aa22"] = GpuReading(recovery_action=1)
    assert watch.start().gpus == (GPU, OTHER)
    assert [bool(fault) for fault in faults(watch)] == [False, True]
    assert library.watched == [("GPU-aa11", "GPU-aa22")]


def test_an_event_is_told_at_once(watch: GpuWatch, library: PlayedLibrary) -> None:
    changed = threading.Event()
    watch.start()
    watch.on_change = changed.set
    library.events.append(GpuEvent("GPU-aa11", 13))
    library.events.append(GpuEvent("GPU-aa11", 79))
    assert changed.wait(20)
    assert [bool(fault) for fault in faults(watch)] == [True, False]


def test_the_next_agent_knows_of_an_event_that_this_one_was_told(library: PlayedLibrary, tmp_path: Path) -> None:
    record = FaultRecord(tmp_path / "faults")
    first = GpuWatch(lambda: library, all_of, record=record)
    first.start()
    library.events += [GpuEvent("GPU-aa11", 13), GpuEvent("GPU-aa11", 62)]
    until(lambda: record.load() == (GpuEvent("GPU-aa11", 62),))
    first.stop()
    second = GpuWatch(lambda: library, all_of, record=record)
    second.start()
    assert [fault[:7] for fault in faults(second)] == ["XID 62:", ""]
    second.stop()
    # Whoever says meanwhile that it does no harm is heeded.
    third = GpuWatch(lambda: library, all_of, {62}, record)
    third.start()
    assert faults(third) == ["", ""]
    third.stop()


def test_readings_are_taken_again_and_again(watch: GpuWatch, library: PlayedLibrary, clock: Clock) -> None:
    watch.start()
    assert library.read_count == 2
    library.readings["GPU-aa11"] = GpuReading(utilization_percent=55)
    library.readings["GPU-aa22"] = GpuLibraryError("its driver says: Unknown Error")
    for count in (4, 6, 8):
        until_it_waits(library)
        clock.now += 3
        until(lambda count=count: library.read_count == count)  # type: ignore[misc]
    until(lambda: watch.conditions()[1].fault != "")
    assert watch.conditions()[0].utilization_percent == 55


def test_a_driver_that_hangs_is_said_to_and_all_is_well_when_it_answers(
    watch: GpuWatch, library: PlayedLibrary, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    watch.start()
    library.answers.clear()
    assert library.hangs.wait(20)  # else the answer to what it asked before would count as one of later
    clock.now += 29
    assert faults(watch) == ["", ""]
    clock.now += 2
    until(lambda: all("has not answered for more than 30 s" in fault for fault in faults(watch)))
    assert faults(watch) == faults(watch)
    assert sum("has not answered" in record.message for record in caplog.records) == 1
    library.answers.set()
    until(lambda: faults(watch) == ["", ""])


def test_one_that_hangs_at_the_start_is_given_up(library: PlayedLibrary) -> None:
    library.answers.clear()
    watch = GpuWatch(lambda: library, all_of)
    with pytest.raises(GpuLibraryError, match="does not answer within 0 s"):
        watch.start(timeout_s=0.01)
    library.answers.set()
    assert library.closed.wait(20)
    watch.stop()


def test_waiting_that_fails_does_not_become_a_hot_loop(
    watch: GpuWatch, library: PlayedLibrary, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    watch.start()
    library.events += [GpuLibraryError("GPU is lost")] * 1000
    until(lambda: len(library.events) == 999)
    threading.Event().wait(0.05)
    assert len(library.events) == 999
    for left in (998, 997):
        clock.now += 3
        until(lambda left=left: len(library.events) == left)  # type: ignore[misc]
    assert caplog.text.count("waiting for events of GPUs: GPU is lost") == 1


def test_a_driver_that_tells_no_events_is_read_all_the_same(
    watch: GpuWatch, library: PlayedLibrary, clock: Clock
) -> None:
    library.tells_events = False
    watch.start()

    def is_read_again() -> bool:
        clock.now += 3  # again and again: the thread may look at the clock for the first time only now
        return library.read_count >= 4

    until(is_read_again)


def test_the_end_gives_the_library_back(watch: GpuWatch, library: PlayedLibrary) -> None:
    watch.start()
    watch.stop()
    assert library.closed.wait(20)


def test_what_cannot_be_chosen_is_raised_where_it_was_started(library: PlayedLibrary) -> None:
    def refuse(found: GpuList) -> Selection:
        raise ValueError("no such GPU")

    watch = GpuWatch(lambda: library, refuse)
    with pytest.raises(ValueError, match="no such GPU"):
        watch.start()
    assert library.closed.wait(20)


def test_a_binding_that_is_broken_is_raised_at_once(library: PlayedLibrary) -> None:
    def open_library() -> PlayedLibrary:
        raise AttributeError("no nvmlInit")

    with pytest.raises(AttributeError, match="no nvmlInit"):
        GpuWatch(open_library, all_of).start()


def test_without_a_gpu_the_library_is_given_back_at_once() -> None:
    library = PlayedLibrary()
    watch = GpuWatch(lambda: library, all_of)
    assert watch.start().gpus == ()
    assert library.closed.wait(20)
    assert watch.conditions() == ()
