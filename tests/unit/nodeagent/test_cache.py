"""Model files: fetched once, whole, verified, and kept while there is room."""

import asyncio
import errno
import os
import shutil
from collections import Counter, namedtuple
from pathlib import Path

import pytest

from modelyard.errors import DataLossError, NotFoundError, ResourceExhaustedError, UnavailableError
from nodeagent.cache import ArtifactCache
from tests.unit.nodeagent.stand_in_source import Source, names_in

DiskUsage = namedtuple("DiskUsage", "total used free")
PLENTY = 1 << 40


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def cache(folder: Path, source: Source) -> ArtifactCache:
    return ArtifactCache(folder, source, limit_bytes=PLENTY)


async def test_a_file_is_fetched_once_and_kept(cache: ArtifactCache, source: Source, folder: Path) -> None:
    sha256 = source.add(b"a model" * 100)
    path = await cache.fetch(sha256, 700)
    assert path == folder / sha256
    assert path.read_bytes() == b"a model" * 100
    assert await cache.fetch(sha256, 700) == path
    assert len(source.reads) == 1
    assert names_in(folder) == {sha256}


async def test_an_empty_file_is_a_file(cache: ArtifactCache, source: Source) -> None:
    path = await cache.fetch(source.add(b""), 0)
    assert path.read_bytes() == b""


async def test_a_fetch_goes_on_where_it_was_cut(cache: ArtifactCache, source: Source) -> None:
    sha256 = source.add(bytes(range(95)))
    source.cut_after = [3, 2]
    path = await cache.fetch(sha256, 95)
    assert path.read_bytes() == bytes(range(95))
    assert [offset for _, offset in source.reads] == [0, 30, 50]


async def test_what_came_before_an_outage_is_not_fetched_again(cache: ArtifactCache, source: Source) -> None:
    sha256 = source.add(bytes(range(95)))
    source.cut_after = [3, 0]
    with pytest.raises(UnavailableError):
        await cache.fetch(sha256, 95)
    path = await cache.fetch(sha256, 95)
    assert path.read_bytes() == bytes(range(95))
    assert [offset for _, offset in source.reads] == [0, 30, 30]


async def test_many_who_want_a_file_share_one_download(cache: ArtifactCache, source: Source) -> None:
    sha256 = source.add(b"x" * 100)
    paths = await asyncio.gather(*(cache.fetch(sha256, 100) for _ in range(8)))
    assert len(set(paths)) == len(source.reads) == 1


async def test_one_who_gives_up_leaves_the_download_to_the_next(cache: ArtifactCache, source: Source) -> None:
    sha256 = source.add(b"x" * 100)
    source.may_go_on.clear()
    first = asyncio.create_task(cache.fetch(sha256, 100))
    second = asyncio.create_task(cache.fetch(sha256, 100))
    while not source.reads:
        await asyncio.sleep(0)
    first.cancel()
    source.may_go_on.set()
    assert (await second).read_bytes() == b"x" * 100


@pytest.mark.parametrize("sent", [b"y" * 100, b"x" * 90, b"x" * 1000], ids=["other", "short", "long"])
async def test_wrong_bytes_are_refused_and_not_kept(
    cache: ArtifactCache, source: Source, folder: Path, sent: bytes
) -> None:
    sha256 = source.add(b"x" * 100)
    source.files[sha256] = sent
    with pytest.raises(DataLossError, match=sha256):
        await cache.fetch(sha256, 100)
    assert not names_in(folder)
    source.files[sha256] = b"x" * 100
    assert (await cache.fetch(sha256, 100)).read_bytes() == b"x" * 100


async def test_a_damaged_file_is_fetched_again(cache: ArtifactCache, source: Source, folder: Path) -> None:
    sha256 = source.add(b"x" * 100)
    path = await cache.fetch(sha256, 100)
    path.chmod(0o644)
    path.write_bytes(b"x" * 99 + b"y")
    for again in (cache, ArtifactCache(folder, source, PLENTY)):
        assert (await again.fetch(sha256, 100)).read_bytes() == b"x" * 100
    assert len(source.reads) == 2


async def test_what_the_controller_says_is_passed_on(cache: ArtifactCache) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        await cache.fetch("0" * 64, 100)


def test_leftovers_of_a_dead_agent_are_removed(folder: Path, source: Source) -> None:
    folder.mkdir()
    (folder / ("0" * 64 + ".partial")).write_bytes(b"half")
    ArtifactCache(folder, source, PLENTY)
    assert not names_in(folder)


async def test_the_least_recently_used_leaves_first(folder: Path, source: Source) -> None:
    cache = ArtifactCache(folder, source, limit_bytes=250)
    a, b, c = (source.add(letter * 100) for letter in (b"a", b"b", b"c"))
    await cache.fetch(a, 100)
    await cache.fetch(b, 100)
    await cache.fetch(a, 100)
    await cache.fetch(c, 100)
    assert names_in(folder) == {a, c}


async def test_what_is_in_use_stays(folder: Path, source: Source) -> None:
    cache = ArtifactCache(folder, source, limit_bytes=150)
    a, b, c = (source.add(letter * 100) for letter in (b"a", b"b", b"c"))
    for sha256 in (a, b, c):
        await cache.fetch(sha256, 100, in_use=lambda: {a, b})
    assert names_in(folder) == {a, b, c}
    await cache.evict(in_use=lambda: {b})
    assert names_in(folder) == {b}


async def test_a_full_disk_makes_room_and_then_says_so(
    cache: ArtifactCache, source: Source, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, wanted = source.add(b"u" * 100), source.add(b"w" * 100)
    unused = source.add(b"n" * 100)
    await cache.fetch(used, 100)
    await cache.fetch(unused, 100)
    monkeypatch.setattr("nodeagent.cache.shutil.disk_usage", lambda _: DiskUsage(1000, 950, 50))
    with pytest.raises(ResourceExhaustedError, match=r"up to 100 bytes are needed .* has 50 left"):
        await cache.fetch(wanted, 100, in_use=lambda: {used, wanted})
    assert names_in(folder) - {f"{wanted}.partial"} == {used}
    assert Counter(sha256 for sha256, _ in source.reads)[wanted] == 0


async def test_a_disk_that_fills_up_on_the_way_is_told_too(
    cache: ArtifactCache, source: Source, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(ResourceExhaustedError, match="place the replica on another node"):
        await cache.fetch(source.add(b"x" * 100), 100)
    assert not names_in(folder)


async def test_what_becomes_wanted_during_a_download_stays(folder: Path, source: Source) -> None:
    cache = ArtifactCache(folder, source, limit_bytes=100)
    early, late = source.add(b"e" * 100), source.add(b"l" * 100)
    await cache.fetch(early, 100)
    in_use = {late}
    source.may_go_on.clear()
    download = asyncio.create_task(cache.fetch(late, 100, in_use=lambda: in_use))
    while len(source.reads) < 2:
        await asyncio.sleep(0)
    in_use.add(early)
    source.may_go_on.set()
    await download
    assert names_in(folder) == {early, late}


async def test_a_folder_that_was_removed_is_made_again(cache: ArtifactCache, source: Source, folder: Path) -> None:
    sha256 = source.add(b"x" * 100)
    await cache.fetch(sha256, 100)
    shutil.rmtree(folder)
    assert (await cache.fetch(sha256, 100)).read_bytes() == b"x" * 100


async def test_a_cache_that_cannot_be_tidied_up_is_told_and_fetches_on(
    cache: ArtifactCache, source: Source, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(folder)
    await cache.evict(in_use=tuple)
    assert "cannot be tidied up" in caplog.text
    await cache.fetch(source.add(b"x" * 100), 100)


async def test_a_download_that_was_given_up_leaves_nothing_for_good(
    cache: ArtifactCache, source: Source, folder: Path
) -> None:
    given_up, wanted, running = (source.add(letter * 100) for letter in (b"g", b"w", b"r"))
    source.cut_after = [3, 0, 3, 0]
    for sha256 in (given_up, wanted):
        with pytest.raises(UnavailableError):
            await cache.fetch(sha256, 100)
    source.may_go_on.clear()
    download = asyncio.create_task(cache.fetch(running, 100))
    while len(source.reads) < 5:
        await asyncio.sleep(0)
    await cache.evict(in_use=lambda: {wanted})
    assert names_in(folder) == {f"{wanted}.partial", f"{running}.partial"}
    source.may_go_on.set()
    assert (await download).read_bytes() == b"r" * 100


def test_other_users_cannot_read_models(cache: ArtifactCache, folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
