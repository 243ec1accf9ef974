"""What replicas hold of the host's memory."""

import asyncio
import os
from pathlib import Path

import pytest

from nodeagent.memory_watch import MemoryWatch, read_sessions
from tests.harness.host_files import write_tree

KIB = 1 << 10


def process(pid: int, *, anonymous: int, shared: int = 0, swapped: int = 0) -> dict[str, str]:
    """Sizes in kilobytes."""
    status = (
        f"Name:\tserver\nVmRSS:\t 999999 kB\nRssAnon:\t {anonymous} kB\nRssFile:\t 50000 kB\nRssShmem:\t {shared} kB"
    )
    return {f"{pid}/status": f"{status}\nVmSwap:\t {swapped} kB\nThreads:\t4"}


def test_all_processes_of_a_session_count_and_shared_memory_once(tmp_path: Path) -> None:
    proc = write_tree(
        tmp_path,
        {
            **process(10, anonymous=1000, shared=300),
            **process(11, anonymous=200, shared=200, swapped=40),
            **process(20, anonymous=7),
            **process(30, anonymous=5000),
            "self/status": "",
        },
    )
    sessions = {10: 10, 11: 10, 20: 20, 30: 30}
    held = read_sessions({10, 20, 40}, proc, sessions.__getitem__)
    assert held == {10: (1000 + 200 + 40 + 300) * KIB, 20: 7 * KIB}


def test_a_process_that_ends_meanwhile_counts_nothing(tmp_path: Path) -> None:
    proc = write_tree(tmp_path, process(10, anonymous=1000))
    (tmp_path / "11").mkdir()  # gone before its status was read

    def session_of(pid: int) -> int:
        if pid == 12:
            raise ProcessLookupError
        return 10

    (tmp_path / "12").mkdir()
    assert read_sessions({10}, proc, session_of) == {10: 1000 * KIB}


@pytest.mark.parametrize("name", [b"Gro\xdfe", b"a kB", b"RssAnon: 0 kB"])
def test_whatever_a_process_calls_itself_it_counts(tmp_path: Path, name: bytes) -> None:
    status = write_tree(tmp_path, process(10, anonymous=1000)) / "10" / "status"
    status.write_bytes(status.read_bytes().replace(b"server", name))
    assert read_sessions({10}, tmp_path, lambda _: 10) == {10: 1000 * KIB}


def test_a_zombie_tells_no_sizes_and_holds_nothing(tmp_path: Path) -> None:
    proc = write_tree(tmp_path, {"10/status": "Name:\tserver\nState:\tZ (zombie)"})
    assert read_sessions({10}, proc, lambda _: 10) == {10: 0}


def test_this_process_is_read() -> None:
    session = os.getsid(0)
    assert read_sessions({session})[session] > 1 << 20


async def test_a_follower_is_told_until_it_leaves() -> None:
    watch = MemoryWatch(interval_s=0.0)
    told: list[int] = []
    three = asyncio.Event()

    def tell(size_bytes: int) -> None:
        told.append(size_bytes)
        if len(told) == 3:
            three.set()
            watch.leave(os.getsid(0))

    watch.follow(os.getsid(0), tell)
    running = asyncio.create_task(watch.run())
    async with asyncio.timeout(30):
        await three.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    running.cancel()
    assert len(told) == 3
    watch.leave(1)  # whom nobody follows


async def test_a_reading_that_fails_is_not_the_last(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    watch = MemoryWatch(interval_s=0.0, proc=tmp_path / "proc")
    watch.follow(os.getsid(0), lambda _: told.set())
    told = asyncio.Event()
    running = asyncio.create_task(watch.run())
    async with asyncio.timeout(30):
        while not caplog.text:
            await asyncio.sleep(0)
        write_tree(tmp_path / "proc", process(os.getpid(), anonymous=1))
        await told.wait()
    running.cancel()
    assert "the memory of the replicas cannot be read" in caplog.text
