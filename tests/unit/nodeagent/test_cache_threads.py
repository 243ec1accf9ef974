"""What takes long is done in threads, and nobody is given what another is removing meanwhile."""

import asyncio
import threading
from pathlib import Path

import pytest

from nodeagent import cached_model
from nodeagent.cache import ArtifactCache
from tests.unit.nodeagent.stand_in_source import FILES, Source, names_in, pack_files, read_files


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def cache(folder: Path, source: Source) -> ArtifactCache:
    return ArtifactCache(folder, source, limit_bytes=1 << 40)


@pytest.fixture
def packed(tmp_path: Path) -> bytes:
    return pack_files(tmp_path / "model")


async def test_no_folder_is_walked_or_removed_in_the_event_loop(
    folder: Path, source: Source, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked: list[str] = []

    def watch(name: str) -> None:
        function = getattr(cached_model, name)

        def walk(path: Path) -> object:
            if threading.current_thread() is threading.main_thread():
                walked.append(f"{name} of {path.name}")
            return function(path)

        monkeypatch.setattr(cached_model, name, walk)

    for name in ("_files", "_folders", "list_files"):
        watch(name)
    sha256 = source.add(packed)
    for cache in (ArtifactCache(folder, source, 0), ArtifactCache(folder, source, 0)):
        await cache.fetch(sha256, len(packed), is_packed=True)
        await cache.fetch(sha256, len(packed), is_packed=True)
    await cache.evict(in_use=tuple)
    assert not names_in(folder)
    assert not walked


async def test_a_folder_is_measured_once(
    folder: Path, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    def measure(path: Path) -> int:
        measured.append(path.name)
        return 1000

    monkeypatch.setattr(cached_model, "disk_bytes", measure)
    cache = ArtifactCache(folder, source, limit_bytes=2500)
    models = [pack_files(tmp_path / name, {"a": name.encode()}) for name in "xyz"]
    x, y, z = names = [source.add(data) for data in models]
    for name, data in zip(names, models, strict=True):
        await cache.fetch(name, len(data), is_packed=True)
    assert names_in(folder) == {y, z} and sorted(measured) == sorted(names)
    await cache.fetch(x, len(models[0]), is_packed=True)
    assert measured[3:] == [x]  # it was removed, and is another one


async def test_who_wants_what_is_being_removed_waits_and_gets_it_whole(
    cache: ArtifactCache, source: Source, folder: Path, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = source.add(packed)
    await cache.fetch(sha256, len(packed), is_packed=True)
    removing, go_on, loop, remove = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop(), cached_model.remove

    def wait_and_remove(path: Path) -> None:
        if path.name == sha256 and path.exists():
            loop.call_soon_threadsafe(removing.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        remove(path)

    monkeypatch.setattr(cached_model, "remove", wait_and_remove)
    cache._limit_bytes = 0
    evicting = asyncio.create_task(cache.evict(in_use=tuple))
    await removing.wait()
    evicting.cancel()  # the removal goes on, and so does its lock
    wanted = asyncio.create_task(cache.fetch(sha256, len(packed), is_packed=True))
    await asyncio.sleep(0)
    go_on.set()
    assert read_files(await wanted) == FILES
    assert evicting.cancelled() and len(source.reads) == 2


async def test_what_is_being_fetched_is_not_removed(
    cache: ArtifactCache, source: Source, folder: Path, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = source.add(packed)
    await cache.fetch(sha256, len(packed), is_packed=True)
    looking, go_on, loop, looks = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop(), cached_model.looks

    def wait_and_look(path: Path) -> cached_model.Looks:
        loop.call_soon_threadsafe(looking.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        return looks(path)

    monkeypatch.setattr(cached_model, "looks", wait_and_look)
    cache._limit_bytes = 0
    again = asyncio.create_task(cache.fetch(sha256, len(packed), is_packed=True))
    await looking.wait()
    await cache.evict(in_use=tuple)
    go_on.set()
    assert read_files(await again) == FILES and len(source.reads) == 1
