"""Files by their content: whole or not there, on a local folder and on a store that is none."""

import asyncio
import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from controlplane.registry.artifacts import CHUNK_BYTES, ArtifactStore
from modelyard.errors import (
    DataLossError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)

CONTENT = bytes(range(256)) * 5000  # more than one chunk
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(params=["local", "memory"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ArtifactStore]:
    url = str(tmp_path / "artifacts") if request.param == "local" else "memory://yard"
    store = ArtifactStore(url, spool=tmp_path / "spool")
    store.prepare()
    yield store
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def local(tmp_path: Path) -> ArtifactStore:
    store = ArtifactStore(str(tmp_path / "artifacts"), spool=tmp_path)
    store.prepare()
    return store


async def keep(store: ArtifactStore, content: bytes = CONTENT) -> str:
    async with store.begin_upload(len(content)) as upload:
        for start in range(0, len(content), 300_000):
            await upload.write(content[start : start + 300_000])
        await upload.finish(len(content), hashlib.sha256(content).hexdigest())
        return await store.keep(upload)


async def read(store: ArtifactStore, sha256: str, offset_bytes: int = 0) -> bytes:
    return b"".join([chunk async for chunk in store.read(sha256, offset_bytes)])


def files_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def test_what_was_kept_is_read_back(artifacts: ArtifactStore, tmp_path: Path) -> None:
    uri = await keep(artifacts)
    assert uri.endswith(f"/sha256/{SHA256[:2]}/{SHA256}")
    assert await read(artifacts, SHA256) == CONTENT
    assert await read(artifacts, SHA256, offset_bytes=1_000_001) == CONTENT[1_000_001:]
    assert await read(artifacts, SHA256, offset_bytes=len(CONTENT)) == b""
    assert [name for name in files_under(tmp_path) if "incoming" in name] == []


async def test_it_is_read_in_bounded_chunks(artifacts: ArtifactStore) -> None:
    await keep(artifacts)
    assert [len(chunk) async for chunk in artifacts.read(SHA256)] == [CHUNK_BYTES, len(CONTENT) - CHUNK_BYTES]


async def test_the_same_bytes_are_kept_once(artifacts: ArtifactStore) -> None:
    assert await keep(artifacts) == await keep(artifacts)
    assert await read(artifacts, SHA256) == CONTENT


async def test_a_damaged_file_is_replaced_by_the_same_upload(local: ArtifactStore, tmp_path: Path) -> None:
    await keep(local)
    path = tmp_path / "artifacts" / "sha256" / SHA256[:2] / SHA256
    path.chmod(0o644)
    path.write_bytes(b"half")
    await keep(local)
    assert await read(local, SHA256) == CONTENT


async def test_an_unknown_file_and_a_bad_offset_are_refused(artifacts: ArtifactStore) -> None:
    await keep(artifacts)
    with pytest.raises(NotFoundError):
        await read(artifacts, "0" * 64)
    for offset in (-1, len(CONTENT) + 1):
        with pytest.raises(InvalidArgumentError, match=f"it has {len(CONTENT)} bytes"):
            await read(artifacts, SHA256, offset)


@pytest.mark.parametrize("sha256", ["", "../" * 21 + "a", "x" * 64, SHA256[:-1], SHA256 + "0", SHA256 + "\n"])
async def test_only_a_sha256_names_a_file(artifacts: ArtifactStore, sha256: str) -> None:
    with pytest.raises(InvalidArgumentError, match="64 hexadecimal digits"):
        await read(artifacts, sha256)


async def test_capital_digits_are_the_same_digits(artifacts: ArtifactStore) -> None:
    await keep(artifacts)
    assert await read(artifacts, SHA256.upper()) == CONTENT


async def test_what_is_not_as_announced_is_not_kept(local: ArtifactStore, tmp_path: Path) -> None:
    async with local.begin_upload(10) as upload:
        await upload.write(b"12345")
        with pytest.raises(InvalidArgumentError, match="5 bytes arrived and 10 were announced"):
            await upload.finish(10, SHA256)
        with pytest.raises(DataLossError, match=upload.sha256):
            await upload.finish(5, SHA256)
    assert files_under(tmp_path) == []


async def test_leftovers_of_a_crash_are_removed_at_start(local: ArtifactStore, tmp_path: Path) -> None:
    await keep(local)
    upload = local.begin_upload(100)
    await upload.write(b"x" * 50)
    local.prepare()
    assert [name for name in files_under(tmp_path) if "incoming" in name] == []
    assert await read(local, SHA256) == CONTENT


async def test_an_error_and_a_cancellation_leave_nothing(local: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        async with local.begin_upload(10) as upload:
            await upload.write(b"12345")
            raise KeyError

    written = asyncio.Event()

    async def hang() -> None:
        async with local.begin_upload(10) as upload:
            await upload.write(b"12345")
            written.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await written.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files_under(tmp_path) == []


async def test_a_write_that_comes_after_the_end_is_dropped(local: ArtifactStore, tmp_path: Path) -> None:
    async with local.begin_upload(10) as upload:
        pass
    await upload.write(b"late")
    assert files_under(tmp_path) == []


@pytest.fixture
def free_bytes(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets what is free on every disk, 64 MiB of it for the database."""

    def set_free(size_bytes: int) -> None:
        usage = shutil.disk_usage("/")._replace(free=size_bytes)
        monkeypatch.setattr("controlplane.registry.disk_room.shutil.disk_usage", lambda _: usage)

    return set_free


async def test_no_upload_begins_that_has_no_room(local: ArtifactStore, free_bytes: Callable[[int], None]) -> None:
    free_bytes(100 << 20)
    async with local.begin_upload(36 << 20):
        pass
    with pytest.raises(ResourceExhaustedError, match=f"has room for {36 << 20};"):
        local.begin_upload((36 << 20) + 1)


async def test_uploads_under_way_have_their_room(local: ArtifactStore, free_bytes: Callable[[int], None]) -> None:
    free_bytes((64 << 20) + 100)
    async with local.begin_upload(60) as first:
        with pytest.raises(ResourceExhaustedError, match="has room for 40 beside 60 of other uploads;"):
            local.begin_upload(41)
        await first.write(b"x" * 50)
        free_bytes((64 << 20) + 50)
        async with local.begin_upload(40):
            pass
    free_bytes((64 << 20) + 100)
    async with local.begin_upload(100):
        pass


async def test_an_upload_ends_before_it_takes_what_is_kept_for_the_database(
    local: ArtifactStore, tmp_path: Path, free_bytes: Callable[[int], None]
) -> None:
    with pytest.raises(ResourceExhaustedError, match="kept for the database"):
        async with local.begin_upload(1000) as upload:
            await upload.write(b"x" * 500)
            free_bytes((64 << 20) + 499)
            await upload.write(b"x" * 500)
    assert files_under(tmp_path) == []


async def test_a_disk_that_fills_up_leaves_nothing(local: ArtifactStore, tmp_path: Path) -> None:
    upload = local.begin_upload(100_000)
    upload.path.touch()
    upload._file = Path("/dev/full").open("wb")  # noqa: ASYNC230, SIM115
    with pytest.raises(ResourceExhaustedError, match=r"incoming/.*free some"):
        async with upload:
            await upload.write(b"x" * 100_000)
    assert files_under(tmp_path) == []


async def test_a_dead_disk_is_named(local: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async with local.begin_upload(1) as upload:
        await upload.write(b"1")
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(UnavailableError, match=r"incoming/.*Input/output error.*mend"):
            await upload.finish(1, upload.sha256)


def test_a_place_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="no place to keep artifacts"):
        ArtifactStore("nosuch://bucket", spool=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="mend the storage"):
        ArtifactStore(str(tmp_path / "file"), spool=tmp_path).prepare()
