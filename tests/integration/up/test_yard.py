"""The supervision of `modelyard up`, with programs that stand in for the real ones."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from modelyard.errors import FailedPreconditionError
from modelyard.up.yard import Yard, YardOptions
from tests.harness.programs import find_users, is_gone

MODULES = dict.fromkeys(("controller", "agent", "router"), "tests.integration.up.stand_in")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


def running_children() -> list[int]:
    return [process.pid for process in psutil.Process().children(recursive=True) if not is_gone(process)]


@pytest.fixture(autouse=True)
def stand_ins_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs are started without the working folder in their path, so that no folder there can hide a package."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[3]))


@pytest.fixture
async def told() -> list[str]:
    return []


@pytest.fixture
async def yard(tmp_path: Path, told: list[str]) -> AsyncIterator[Yard]:
    made = Yard(YardOptions(tmp_path), MODULES, told.append)
    before = set(running_children())
    yield made
    with contextlib.suppress(OSError):  # the test has stopped it
        made.kill()
    await until(lambda: set(running_children()) <= before)


def events(folder: Path) -> list[str]:
    path = folder / "events.log"
    return path.read_text().splitlines() if path.exists() else []


def pid_of(name: str, folder: Path) -> int:
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if str(folder / name) in process.cmdline():
                return process.pid
    raise AssertionError(f"{name} does not run")


async def test_programs_start_and_stop_in_the_order_of_their_needs(yard: Yard, tmp_path: Path) -> None:
    facts = await yard.start()
    assert (facts.controller, facts.router, facts.node) == ("127.0.0.1:4000", "127.0.0.1:4000", "local")
    started = events(tmp_path)
    assert started[0] == "controller started"
    assert "agent started --controller 127.0.0.1:4000 --node local" in started
    await yard.stop()
    assert events(tmp_path)[3:] == ["router stopped", "agent stopped", "controller stopped"]


async def test_what_ends_is_started_again_with_the_reason(yard: Yard, tmp_path: Path, told: list[str]) -> None:
    await yard.start()
    keeping = asyncio.create_task(yard.keep())
    first = pid_of("agent", tmp_path)
    os.kill(first, signal.SIGKILL)
    await until(lambda: "the agent is back" in told)
    assert pid_of("agent", tmp_path) != first
    assert any("the agent ended with status -9" in text for text in told)
    keeping.cancel()
    await yard.stop()


async def test_a_program_that_keeps_failing_is_tried_again(yard: Yard, tmp_path: Path, told: list[str]) -> None:
    await yard.start()
    keeping = asyncio.create_task(yard.keep())
    (tmp_path / "agent.fail").write_text("the disk is full")
    os.kill(pid_of("agent", tmp_path), signal.SIGKILL)
    await until(lambda: any("the disk is full" in text for text in told))
    (tmp_path / "agent.fail").unlink()
    await until(lambda: "the agent is back" in told)
    keeping.cancel()
    await yard.stop()


async def test_a_first_start_that_fails_ends_it_with_the_last_words(yard: Yard, tmp_path: Path) -> None:
    (tmp_path / "router.fail").write_text("port 4000 is taken")
    with pytest.raises(FailedPreconditionError, match=r"(?s)the router ended with status 1.*port 4000 is taken"):
        await yard.start()
    await yard.stop()
    assert not find_users(tmp_path)


async def test_a_stop_while_it_starts_leaves_nothing(yard: Yard, tmp_path: Path) -> None:
    starting = asyncio.create_task(yard.start())
    await until(lambda: bool(events(tmp_path)))
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await yard.stop()
    assert not find_users(tmp_path)


async def test_a_restarted_program_listens_where_the_others_look_for_it(tmp_path: Path) -> None:
    yard = Yard(YardOptions(tmp_path, controller_listen="127.0.0.1:0"), MODULES, lambda _: None)
    assert (await yard.start()).controller == "127.0.0.1:4001"
    keeping = asyncio.create_task(yard.keep())
    os.kill(pid_of("controller", tmp_path), signal.SIGKILL)
    await until(lambda: sum(event.startswith("controller started") for event in events(tmp_path)) == 2)
    assert "127.0.0.1:4001" in psutil.Process(pid_of("controller", tmp_path)).cmdline()
    keeping.cancel()
    await yard.stop()
