"""When a server takes it that nobody asks any more."""

import asyncio
import time

import pytest

from nodeagent.modelserver import drain
from nodeagent.modelserver.admission import Admission

_QUIET_S = 0.6


class Clock:
    """Sleeps at once; what `late` holds is how long each sleep takes, then as long as it was asked for."""

    def __init__(self, late: list[float]) -> None:
        self.now = 0.0
        self.late = late
        self.sleeps = 0

    async def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        self.now += self.late.pop(0) if self.late else seconds


@pytest.mark.parametrize(
    ("late", "sleeps"),
    [([], 6), ([5.0], 7), ([0.1] * 5 + [5.0], 7), ([0.11] * 6, 6)],
    ids=["on time", "late first", "late last", "a little late"],
)
async def test_only_time_on_time_is_quiet(monkeypatch: pytest.MonkeyPatch, late: list[float], sleeps: int) -> None:
    clock = Clock(late)
    monkeypatch.setattr(asyncio, "sleep", clock.sleep)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    admission = Admission(4)
    await drain.wait_until_quiet(admission, _QUIET_S)
    assert clock.sleeps == sleeps


async def test_a_request_begins_the_quiet_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock([])
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    admission = Admission(4)

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds / 2)
        if clock.sleeps == 5:
            with admission.admit():
                pass
        await clock.sleep(seconds / 2)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await drain.wait_until_quiet(admission, _QUIET_S)
    assert clock.sleeps == 2 * (3 + 6)
