"""Models that are folders: fetched as one packed file, unpacked once, verified as often as is needed."""

import asyncio
import errno
import io
import os
import tarfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.errors import DataLossError, ResourceExhaustedError
from modelyard.packing import unpack
from nodeagent import cached_model
from nodeagent.cache import ArtifactCache
from tests.unit.nodeagent.stand_in_source import FILES, Source, names_in, pack_files, read_files

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


@pytest.fixture
def packed(tmp_path: Path) -> bytes:
    return pack_files(tmp_path / "model")


async def test_a_folder_is_fetched_once_and_nothing_else_is_kept(
    cache: ArtifactCache, source: Source, folder: Path, packed: bytes
) -> None:
    sha256 = source.add(packed)
    path = await cache.fetch(sha256, len(packed), is_packed=True)
    assert path == folder / sha256 and read_files(path) == FILES
    assert await cache.fetch(sha256, len(packed), is_packed=True) == path
    assert len(source.reads) == 1
    assert names_in(folder) == {sha256}


async def test_a_folder_is_read_only(cache: ArtifactCache, source: Source, packed: bytes) -> None:
    path = await cache.fetch(source.add(packed), len(packed), is_packed=True)
    modes = {oct(inner.stat().st_mode & 0o777) for inner in (path, *path.rglob("*")) if inner.is_dir()}
    assert modes == {"0o555"}
    assert {oct(inner.stat().st_mode & 0o777) for inner in path.rglob("*") if inner.is_file()} == {"0o444"}


async def test_a_folder_is_verified_without_its_packed_file(
    cache: ArtifactCache, source: Source, folder: Path, packed: bytes
) -> None:
    sha256 = source.add(packed)
    await cache.fetch(sha256, len(packed), is_packed=True)
    path = await ArtifactCache(folder, source, PLENTY).fetch(sha256, len(packed), is_packed=True)
    assert read_files(path) == FILES and len(source.reads) == 1


def change_a_byte(path: Path) -> None:
    (path / "variables/data").chmod(0o644)
    (path / "variables/data").write_bytes(b"w" * 699 + b"x")


def remove_a_file(path: Path) -> None:
    (path / "variables/variables.index").unlink()


def add_a_file(path: Path) -> None:
    (path / "variables/more").write_bytes(b"")


def link_elsewhere(path: Path) -> None:
    (path / "variables/data").unlink()
    (path / "variables/data").symlink_to("/etc/hostname")


def become_a_file(path: Path) -> None:
    cached_model.remove(path)
    path.write_bytes(b"not a folder")


@pytest.mark.parametrize("damage", [change_a_byte, remove_a_file, add_a_file, link_elsewhere, become_a_file])
async def test_a_damaged_folder_is_fetched_again(
    cache: ArtifactCache, source: Source, folder: Path, packed: bytes, damage: Callable[[Path], None]
) -> None:
    sha256 = source.add(packed)
    path = await cache.fetch(sha256, len(packed), is_packed=True)
    for inner in (path, path / "variables"):
        inner.chmod(0o755)
    damage(path)
    for again in (cache, ArtifactCache(folder, source, PLENTY)):
        assert read_files(await again.fetch(sha256, len(packed), is_packed=True)) == FILES
    assert len(source.reads) == 2


async def test_a_fetch_goes_on_where_it_was_cut(cache: ArtifactCache, source: Source, packed: bytes) -> None:
    source.cut_after = [3, 2]
    path = await cache.fetch(source.add(packed), len(packed), is_packed=True)
    assert read_files(path) == FILES
    assert [offset for _, offset in source.reads] == [0, 30, 50]


async def test_a_tar_that_would_be_packed_otherwise_is_refused_and_not_kept(
    cache: ArtifactCache, source: Source, folder: Path
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("b")
        info.mtime = 12345
        archive.addfile(info)
    data = buffer.getvalue()
    with pytest.raises(DataLossError, match="not packed as this release does it"):
        await cache.fetch(source.add(data), len(data), is_packed=True)
    assert not names_in(folder)


async def test_what_is_no_tar_is_refused_and_not_kept(cache: ArtifactCache, source: Source, folder: Path) -> None:
    with pytest.raises(DataLossError, match=r"packed model is damaged.*register the model again"):
        await cache.fetch(source.add(b"x" * 1024), 1024, is_packed=True)
    assert not names_in(folder)


async def test_a_path_that_leads_out_is_refused(cache: ArtifactCache, source: Source, folder: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../outside"))
    data = buffer.getvalue()
    with pytest.raises(DataLossError, match="outside"):
        await cache.fetch(source.add(data), len(data), is_packed=True)
    assert not names_in(folder) and not (folder.parent / "outside").exists()


async def test_folders_count_with_all_their_files_when_room_is_made(
    folder: Path, source: Source, tmp_path: Path
) -> None:
    cache = ArtifactCache(folder, source, limit_bytes=1500)
    models = [pack_files(tmp_path / name, {"a/b": name.encode() * 1000}) for name in "xyz"]
    names = [source.add(data) for data in models]
    for name, data in zip(names, models, strict=True):
        await cache.fetch(name, len(data), in_use=lambda: names[:1], is_packed=True)
    assert names_in(folder) == {names[0], names[2]}
    await cache.evict(in_use=tuple)
    assert names_in(folder) == {names[2]}


async def test_room_is_wanted_for_the_packed_file_and_the_folder(
    cache: ArtifactCache, source: Source, folder: Path, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = source.add(packed)
    monkeypatch.setattr("shutil.disk_usage", lambda _: DiskUsage(PLENTY, 0, 2 * len(packed) - 1))
    with pytest.raises(ResourceExhaustedError, match="place the replica on another node"):
        await cache.fetch(sha256, len(packed), is_packed=True)
    assert not source.reads
    monkeypatch.setattr("shutil.disk_usage", lambda _: DiskUsage(PLENTY, 0, 2 * len(packed)))
    await cache.fetch(sha256, len(packed), is_packed=True)


async def test_a_disk_that_fills_up_while_unpacking_keeps_nothing(
    cache: ArtifactCache, source: Source, folder: Path, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("nodeagent.cached_model.unpack", no_space)
    with pytest.raises(ResourceExhaustedError, match="place the replica on another node"):
        await cache.fetch(source.add(packed), len(packed), is_packed=True)
    assert not names_in(folder)


async def test_what_a_killed_agent_was_unpacking_is_removed(
    cache: ArtifactCache, source: Source, folder: Path, packed: bytes
) -> None:
    sha256 = source.add(packed)
    (await cache.fetch(sha256, len(packed), is_packed=True)).rename(folder / f"{sha256}.unpacking")
    ArtifactCache(folder, source, PLENTY)
    assert not names_in(folder)


async def test_one_who_gives_up_while_it_is_unpacked_leaves_no_half_folder(
    cache: ArtifactCache, source: Source, folder: Path, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = source.add(packed)
    unpacking, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait_and_unpack(source_file: io.BufferedReader, target: Path) -> None:
        loop.call_soon_threadsafe(unpacking.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        unpack(source_file, target)

    monkeypatch.setattr("nodeagent.cached_model.unpack", wait_and_unpack)
    given_up = asyncio.create_task(cache.fetch(sha256, len(packed), is_packed=True))
    await unpacking.wait()
    given_up.cancel()
    second = asyncio.create_task(cache.fetch(sha256, len(packed), is_packed=True))
    await asyncio.sleep(0)
    go_on.set()
    assert read_files(await second) == FILES
    assert given_up.cancelled() and names_in(folder) == {sha256}
    assert len(source.reads) == 1
