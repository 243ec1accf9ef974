"""A store that dies costs an error that says so, within a bounded time, and never a file that is not whole."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controlplane.registry.files.artifact_backends import open_backend
from controlplane.registry.files.artifacts import ArtifactStore
from controlplane.registry.files.readers import S3Reader
from modelyard.errors import FailedPreconditionError, UnavailableError, YardError
from tests.harness.hdfs import Hdfs, running_hdfs, why_not
from tests.harness.programs import START_TIMEOUT_S, Program, wait_for
from tests.harness.s3 import S3, endpoint, running_s3
from tests.harness.silent_server import silent_server
from tests.integration.stores.conftest import REMOTE, Place

pytestmark = pytest.mark.slow

CONTENT = os.urandom(1 << 20) * 64
SHA256 = hashlib.sha256(CONTENT).hexdigest()
# No more than it takes for a person to wait for: the limits in the code are shorter.
PATIENCE_S = 60.0


@pytest.fixture
def own_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    with running_s3() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def own_hdfs() -> Iterator[Hdfs]:
    if reason := why_not():
        pytest.skip(reason)
    with running_hdfs() as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.write_bytes(CONTENT)
    return path


async def open_store(url: str, folder: Path, timeout_s: float = 20.0) -> ArtifactStore:
    store = ArtifactStore(url, folder / "spool", timeout_s)
    await store.prepare()
    return store


async def read(store: ArtifactStore) -> bytes:
    return b"".join([chunk async for chunk in store.read(SHA256)])


async def refused(store: ArtifactStore, file: Path) -> None:
    """Each kind of call ends in time, in an error that a person can act on."""
    async with asyncio.timeout(PATIENCE_S):
        for call in (store.keep(file, SHA256, len(CONTENT)), store.has(SHA256, 1), read(store)):
            with pytest.raises(UnavailableError, match="try again"):
                await call


async def test_an_s3_that_is_gone(own_s3: S3, tmp_path: Path, file: Path) -> None:
    store = await open_store(f"{own_s3.url}/yard", tmp_path)
    await store.keep(file, SHA256, len(CONTENT))
    own_s3.kill()
    await refused(store, file)
    with pytest.raises(UnavailableError, match="try again"):
        await store.remove(SHA256)


async def test_an_s3_that_is_silent_and_comes_back(own_s3: S3, tmp_path: Path, file: Path) -> None:
    store = await open_store(f"{own_s3.url}/yard", tmp_path, timeout_s=8.0)
    await store.keep(file, SHA256, len(CONTENT))
    own_s3.pause()
    await refused(store, file)
    own_s3.resume()
    async with asyncio.timeout(PATIENCE_S):
        while not await store.has(SHA256, len(CONTENT)):
            await asyncio.sleep(0.1)
    assert await read(store) == CONTENT


async def test_an_s3_that_is_gone_at_the_start_holds_up_nothing_else(own_s3: S3, tmp_path: Path) -> None:
    own_s3.kill()
    store = await open_store(f"{own_s3.url}/yard", tmp_path)
    async with store.begin_upload(3, "0" * 64) as upload:
        await upload.write(b"123")


async def test_a_controller_starts_and_ends_while_its_store_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with silent_server() as server:
        for name, value in endpoint(f"http://127.0.0.1:{server.port}").items():
            monkeypatch.setenv(name, value)
        arguments = ["--listen", "127.0.0.1:0", "--data", str(tmp_path / "data"), "--artifacts-url", "s3://models/yard"]
        controller = Program("controlplane", arguments, tmp_path / "log")
        began = time.monotonic()
        try:
            await asyncio.to_thread(controller.start)
            # `modelyard up` gives a program a minute.
            assert server.has_connections() and time.monotonic() - began < START_TIMEOUT_S / 2
            assert "did not answer within" in controller.log_tail()
            assert await asyncio.to_thread(controller.stop, 10.0) == 0
        finally:
            controller.kill()


async def test_what_is_wrong_with_a_place_is_said_at_the_start(
    own_s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FailedPreconditionError, match="no bucket 'nobodys'; make it"):
        await open_store("s3://nobodys/yard", tmp_path)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(FailedPreconditionError, match=r"no access to s3://models.*credentials"):
        await open_store(f"{own_s3.url}/yard", tmp_path)


@pytest.mark.slow
async def test_a_name_node_that_is_killed_and_comes_back(own_hdfs: Hdfs, tmp_path: Path, file: Path) -> None:
    store = await open_store(f"{own_hdfs.url}/yard", tmp_path)
    await store.keep(file, SHA256, len(CONTENT))
    own_hdfs.kill_namenode()
    await refused(store, file)
    await asyncio.to_thread(own_hdfs.start_namenode)
    async with asyncio.timeout(PATIENCE_S):
        while True:  # its data node has to find it again
            try:
                assert await read(store) == CONTENT
                return
            except UnavailableError:
                await asyncio.sleep(0.2)


@pytest.mark.slow
async def test_a_data_node_that_is_killed_in_the_middle(own_hdfs: Hdfs, tmp_path: Path, file: Path) -> None:
    store = await open_store(f"{own_hdfs.url}/yard", tmp_path)
    await store.keep(file, SHA256, len(CONTENT))
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(UnavailableError, match="try again"):
            async for _ in store.read(SHA256):
                own_hdfs.kill_datanode()
        other = tmp_path / "other"
        other.write_bytes(CONTENT[::-1])
        sha256 = hashlib.sha256(CONTENT[::-1]).hexdigest()
        with pytest.raises(YardError, match="try again"):
            await store.keep(other, sha256, len(CONTENT))
        await asyncio.to_thread(own_hdfs.start_datanode)
        await store.keep(other, sha256, len(CONTENT))
        assert await store.verify(sha256, len(CONTENT))
    assert not [path for path in own_hdfs.list_files() if "/incoming/" in path and own_hdfs.list_files()[path]]


WRITER = """
import asyncio, sys
from pathlib import Path
from controlplane.registry.files.artifacts import ArtifactStore
from controlplane.registry.files.readers import S3Reader

async def main(url, spool, file, sha256):
    store = ArtifactStore(url, Path(spool))
    await store.prepare()
    print("keeping", flush=True)
    await store.keep(Path(file), sha256, Path(file).stat().st_size)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("place", REMOTE, indirect=True)
async def test_a_controller_that_is_killed_while_it_writes_leaves_no_half_file(
    place: Place, tmp_path: Path, file: Path
) -> None:
    """At several moments: some before the first byte, some in the middle, some when all is done."""
    outcomes = set()
    for delay_s in (0.0, 0.02, 0.05, 0.1, 0.2, 0.4):
        kill_a_writer(place.url, tmp_path, file, delay_s)
        store = await open_store(place.url, tmp_path)
        is_there = await store.has(SHA256, len(CONTENT))
        outcomes.add(is_there)
        assert is_there == await store.verify(SHA256, len(CONTENT))
        assert not [path for path in place.list_files() if "/sha256/" in path and not path.endswith(SHA256)]
        await store.remove(SHA256)
    assert False in outcomes, "no kill came in the middle"
    backend = open_backend(place.url)
    backend.remove_leftovers(datetime.now(UTC) - timedelta(days=1))
    # An upload that goes on in another controller is younger: what is old is removed.
    backend.remove_leftovers(datetime.now(UTC) + timedelta(minutes=5))
    assert place.list_files() == {}


def kill_a_writer(url: str, folder: Path, file: Path, delay_s: float) -> None:
    command = [sys.executable, "-c", WRITER, url, str(folder / "spool"), str(file), SHA256]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "keeping\n"
        time.sleep(delay_s)
        writer.send_signal(signal.SIGKILL)


async def test_the_parts_of_an_upload_that_was_killed_do_not_linger(s3: S3, tmp_path: Path) -> None:
    key = f"{tmp_path.name}/sha256/ab/{'ab' * 32}"
    upload = s3.client.create_multipart_upload(Bucket="models", Key=key)
    s3.client.upload_part(Bucket="models", Key=key, UploadId=upload["UploadId"], PartNumber=1, Body=b"x" * (5 << 20))

    def list_uploads() -> list[object]:
        uploads: list[object] = s3.client.list_multipart_uploads(Bucket="models", Prefix=key).get("Uploads", [])
        return uploads

    backend = open_backend(f"{s3.url}/{tmp_path.name}")
    # In moto all uploads were begun in 2010.
    backend.remove_leftovers(datetime(2009, 1, 1, tzinfo=UTC))
    assert len(list_uploads()) == 1
    backend.remove_leftovers(datetime.now(UTC) - timedelta(days=1))
    wait_for(lambda: not list_uploads(), "the end of the upload")


async def test_a_stream_from_s3_that_breaks_is_gone_on_with(s3: S3, tmp_path: Path, file: Path) -> None:
    store = await open_store(f"{s3.url}/{tmp_path.name}", tmp_path)
    await store.keep(file, SHA256, len(CONTENT))
    reader = open_backend(f"{s3.url}/{tmp_path.name}").open(f"models/{tmp_path.name}/sha256/{SHA256[:2]}/{SHA256}")
    assert isinstance(reader, S3Reader)
    got = bytearray()
    while len(got) < len(CONTENT):
        got += await asyncio.to_thread(reader.read, 1 << 20)
        if len(got) == 3 << 20:
            reader._fs.loop.call_soon_threadsafe(reader._body.close)
    reader.close()
    assert bytes(got) == CONTENT
