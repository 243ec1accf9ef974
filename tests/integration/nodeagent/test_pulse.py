"""What the kernel tells of a process that works, waits, or is stopped."""

import os
import signal
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from nodeagent.pulse import ActivityMeter
from tests.harness.programs import wait_for


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def test_one_that_works_is_runnable_and_uses_its_core() -> None:
    meter = ActivityMeter(os.getpid())

    def work() -> bool:
        sum(range(3_000_000))
        activity = meter.read()
        return "R" in activity.thread_states and activity.cpu_share > 0.05

    wait_for(work, "a share of a core")  # on a busy machine it may wait for one for long


def test_one_that_waits_uses_nothing(sleeper: "subprocess.Popen[bytes]") -> None:
    wait_for(lambda: ActivityMeter(sleeper.pid).read().thread_states == "S", "its sleep")
    assert ActivityMeter(sleeper.pid).read().cpu_share == 0.0


def test_one_that_is_stopped_is_told_from_one_that_waits(sleeper: "subprocess.Popen[bytes]") -> None:
    sleeper.send_signal(signal.SIGSTOP)
    wait_for(lambda: ActivityMeter(sleeper.pid).read().thread_states == "T", "its stop")


def test_one_that_has_ended_raises(sleeper: "subprocess.Popen[bytes]") -> None:
    meter = ActivityMeter(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    with pytest.raises(psutil.NoSuchProcess):
        meter.read()
