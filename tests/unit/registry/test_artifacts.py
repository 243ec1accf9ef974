"""Files on their way into a store, on a local folder and on a store that is none."""

import asyncio
import errno
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from controlplane.registry.files.artifacts import CHUNK_BYTES, ArtifactStore
from modelyard.errors import (
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)

CONTENT = bytes(range(256)) * 5000  # more than one chunk
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(params=["local", "memory"])
async def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    url = str(tmp_path / "artifacts") if request.param == "local" else "memory://yard"
    store = ArtifactStore(url, spool=tmp_path / "spool")
    await store.prepare()
    return store


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
async def local(tmp_path: Path) -> ArtifactStore:
    store = ArtifactStore(str(tmp_path / "artifacts"), spool=tmp_path)
    await store.prepare()
    return store


async def keep(store: ArtifactStore, content: bytes = CONTENT) -> str:
    sha256 = hashlib.sha256(content).hexdigest()
    async with store.begin_upload(len(content), sha256) as upload:
        for start in range(0, len(content), 300_000):
            await upload.write(content[start : start + 300_000])
        await upload.finish(len(content), sha256)
        return await store.keep(upload.path, sha256, len(content))


async def read(store: ArtifactStore, sha256: str, offset_bytes: int = 0) -> bytes:
    return b"".join([chunk async for chunk in store.read(sha256, offset_bytes)])


def files_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def test_an_upload_is_kept_and_nothing_of_its_way_in(artifacts: ArtifactStore, tmp_path: Path) -> None:
    uri = await keep(artifacts)
    assert uri.endswith(f"/sha256/{SHA256[:2]}/{SHA256}")
    assert await read(artifacts, SHA256) == CONTENT
    assert [name for name in files_under(tmp_path) if "incoming" in name] == []


async def test_it_is_read_in_bounded_chunks(artifacts: ArtifactStore) -> None:
    await keep(artifacts)
    assert [len(chunk) async for chunk in artifacts.read(SHA256)] == [CHUNK_BYTES, len(CONTENT) - CHUNK_BYTES]


@pytest.mark.parametrize("sha256", ["", "../" * 21 + "a", "x" * 64, SHA256[:-1], SHA256 + "0", SHA256 + "\n"])
async def test_only_a_sha256_names_a_file(artifacts: ArtifactStore, sha256: str) -> None:
    with pytest.raises(InvalidArgumentError, match="64 hexadecimal digits"):
        await read(artifacts, sha256)


async def test_capital_digits_are_the_same_digits(artifacts: ArtifactStore) -> None:
    await keep(artifacts)
    assert await read(artifacts, SHA256.upper()) == CONTENT
    assert await read(artifacts, SHA256.upper(), 7) == CONTENT[7:]


async def test_a_reader_goes_on_with_a_file_that_is_purged_meanwhile(local: ArtifactStore) -> None:
    await keep(local)
    got = bytearray()
    async for chunk in local.read(SHA256):
        got += chunk
        await local.remove(SHA256)
    assert bytes(got) == CONTENT
    with pytest.raises(NotFoundError):
        await read(local, SHA256)


async def test_a_local_copy_outlives_a_purge_of_the_file(artifacts: ArtifactStore, tmp_path: Path) -> None:
    await keep(artifacts)
    async with artifacts.local_copy(SHA256) as copy:
        assert await artifacts.remove(SHA256)
        assert not await artifacts.has(SHA256, len(CONTENT))
        assert await asyncio.to_thread(copy.read_bytes) == CONTENT
    assert files_under(tmp_path) == []
    with pytest.raises(NotFoundError, match="no file with sha256"):
        async with artifacts.local_copy(SHA256):
            pass


async def test_a_local_copy_that_is_done_with_leaves_the_file_where_it_is(
    artifacts: ArtifactStore, tmp_path: Path
) -> None:
    await keep(artifacts)
    before = files_under(tmp_path)
    async with artifacts.local_copy(SHA256) as copy:
        assert await asyncio.to_thread(copy.read_bytes) == CONTENT
    assert files_under(tmp_path) == before
    assert await read(artifacts, SHA256) == CONTENT


async def test_what_is_not_as_announced_is_not_kept(local: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(DataLossError, match=SHA256):
        async with local.begin_upload(5, SHA256) as upload:
            await upload.write(b"12345")
            await upload.finish(5, SHA256)
    assert files_under(tmp_path) == []


async def test_leftovers_of_a_crash_are_removed_at_start(local: ArtifactStore, tmp_path: Path) -> None:
    await keep(local)
    incoming = tmp_path / "artifacts" / "incoming"
    (incoming / "1.work").mkdir()
    (incoming / "1.work" / "model.tar").write_bytes(b"x")
    (incoming / "abc.new").write_bytes(b"x")
    (incoming / "0123456789abcdef").write_bytes(b"of an earlier release")
    await local.prepare()
    assert [name for name in files_under(tmp_path) if "incoming" in name] == []
    assert list(incoming.iterdir()) == []
    assert await read(local, SHA256) == CONTENT


async def test_an_error_leaves_nothing(local: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        async with local.begin_upload(10, SHA256) as upload:
            await upload.write(b"12345")
            raise KeyError
    assert files_under(tmp_path) == []


async def test_what_has_no_name_yet_is_not_kept_when_it_is_cut_off(local: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(asyncio.CancelledError):
        async with local.begin_upload(10) as upload:
            await upload.write(b"12345")
            raise asyncio.CancelledError
    assert files_under(tmp_path) == []


async def test_a_write_that_comes_after_the_end_is_dropped(local: ArtifactStore, tmp_path: Path) -> None:
    async with local.begin_upload(10) as upload:
        pass
    await upload.write(b"late")
    assert files_under(tmp_path) == []


async def test_a_workspace_is_gone_afterwards(local: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        async with local.workspace() as folder:
            (folder / "a").mkdir()
            (folder / "a" / "b").write_bytes(b"x")
            raise KeyError
    assert not folder.exists()


@pytest.fixture
def free_bytes(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets what is free on every disk, 64 MiB of it for the database."""

    def set_free(size_bytes: int) -> None:
        usage = shutil.disk_usage("/")._replace(free=size_bytes)
        monkeypatch.setattr("controlplane.registry.files.disk_room.shutil.disk_usage", lambda _: usage)

    return set_free


async def test_no_upload_begins_that_has_no_room(local: ArtifactStore, free_bytes: Callable[[int], None]) -> None:
    free_bytes(100 << 20)
    async with local.begin_upload(36 << 20):
        pass
    with pytest.raises(ResourceExhaustedError, match=f"has room for {36 << 20};"):
        async with local.begin_upload((36 << 20) + 1):
            pass


async def test_uploads_under_way_have_their_room(local: ArtifactStore, free_bytes: Callable[[int], None]) -> None:
    free_bytes((64 << 20) + 100)
    async with local.begin_upload(60) as first:
        with pytest.raises(ResourceExhaustedError, match="has room for 40 beside 60 of other uploads;"):
            async with local.begin_upload(41):
                pass
        await first.write(b"x" * 50)
        free_bytes((64 << 20) + 50)
        async with local.begin_upload(40):
            pass
    free_bytes((64 << 20) + 100)
    async with local.begin_upload(100):
        pass


async def test_what_was_not_promised_is_written_as_long_as_there_is_room(
    local: ArtifactStore, free_bytes: Callable[[int], None]
) -> None:
    free_bytes((64 << 20) + 100)
    async with local.begin_upload(0) as upload:
        await upload.write(b"x" * 100)
        with pytest.raises(ResourceExhaustedError, match="kept for the database"):
            await upload.write(b"x" * 101)


async def test_an_upload_ends_before_it_takes_what_is_kept_for_the_database(
    local: ArtifactStore, tmp_path: Path, free_bytes: Callable[[int], None]
) -> None:
    with pytest.raises(ResourceExhaustedError, match="kept for the database"):
        async with local.begin_upload(1000, SHA256) as upload:
            await upload.write(b"x" * 500)
            free_bytes((64 << 20) + 499)
            await upload.write(b"x" * 500)
    assert files_under(tmp_path) == []


async def test_a_disk_that_fills_up_leaves_nothing(local: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(ResourceExhaustedError, match=r"incoming/.*free some"):
        async with local.begin_upload(100_000, SHA256) as upload:
            assert upload._file is not None
            upload._file.close()
            upload._file = Path("/dev/full").open("wb")  # noqa: ASYNC230, SIM115
            await upload.write(b"x" * 100_000)
    assert files_under(tmp_path) == []


async def test_a_dead_disk_is_named(local: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UnavailableError, match=r"sha256/.*Input/output error.*mend"):
        await keep(local)


async def test_a_store_that_does_not_come_back_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ArtifactStore("memory://yard", spool=tmp_path, timeout_s=0.01)
    go_on = threading.Event()
    monkeypatch.setattr(store._backend, "size", lambda path: go_on.wait(20))
    try:
        for _ in range(30):  # more than there are threads for it
            with pytest.raises(UnavailableError, match=r"memory://yard did not answer within 0\.01 s"):
                await store.has(SHA256, 1)
    finally:
        go_on.set()


class Waiting:
    """A remote store that lets nobody prepare it until `go_on` is set."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = ArtifactStore("memory://yard", spool=folder)
        self.go_on = threading.Event()
        self.error: Exception | None = None
        monkeypatch.setattr(self.store._backend, "prepare", self._prepare)

    def _prepare(self) -> None:
        self.go_on.wait(20)
        if self.error:
            raise self.error


@pytest.fixture
def waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Waiting]:
    made = Waiting(tmp_path, monkeypatch)
    yield made
    made.go_on.set()


async def test_a_remote_store_that_is_slow_gets_ready_beside_everything_else(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    swept = asyncio.Event()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(
        waiting.store._backend, "remove_leftovers", lambda _: loop.call_soon_threadsafe(swept.set) and None
    )
    await waiting.store.prepare(wait_s=0)
    assert "memory://yard did not answer within 0 s" in caplog.text
    assert await keep(waiting.store)  # what arrives has its place
    assert not swept.is_set()
    waiting.go_on.set()
    async with asyncio.timeout(20):
        await swept.wait()
    await waiting.store.close()


async def test_what_a_slow_store_says_in_the_end_is_told_to_the_log(
    waiting: Waiting, caplog: pytest.LogCaptureFixture
) -> None:
    await waiting.store.prepare(wait_s=0)
    waiting.error = FailedPreconditionError("there is no bucket 'nobodys'")
    waiting.go_on.set()
    async with asyncio.timeout(20):
        while "no bucket 'nobodys'" not in caplog.text:
            await asyncio.sleep(0)
    await waiting.store.close()


async def test_a_store_that_says_at_once_that_it_cannot_be_used_is_refused(waiting: Waiting) -> None:
    waiting.error = FailedPreconditionError("there is no bucket 'nobodys'")
    waiting.go_on.set()
    with pytest.raises(FailedPreconditionError, match="no bucket"):
        await waiting.store.prepare()
    await waiting.store.close()


async def test_closing_does_not_wait_for_a_store_that_is_not_ready(waiting: Waiting) -> None:
    await waiting.store.prepare(wait_s=0)
    async with asyncio.timeout(15):  # it would not be ready by then
        await waiting.store.close()


async def test_a_place_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="'nosuch://bucket' cannot be opened"):
        ArtifactStore("nosuch://bucket", spool=tmp_path)
    with pytest.raises(InvalidArgumentError, match="chains"):
        ArtifactStore("simplecache::memory://yard", spool=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="mend the storage"):
        await ArtifactStore(str(tmp_path / "file"), spool=tmp_path).prepare()
