"""Who asks for the beginning of a file that is still on its way waits for its end, but not for ever."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from controlplane.registry.files import artifacts as artifacts_module
from controlplane.registry.files.artifacts import ArtifactStore
from controlplane.registry.files.upload import Upload

CONTENT = b"0123456789"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
LONG_S, SHORT_S = 60.0, 0.01


@pytest.fixture
async def artifacts(tmp_path: Path) -> ArtifactStore:
    store = ArtifactStore(str(tmp_path / "artifacts"), spool=tmp_path)
    await store.prepare()
    return store


def be_patient(monkeypatch: pytest.MonkeyPatch, until_cut_s: float, until_stored_s: float) -> None:
    monkeypatch.setattr(artifacts_module, "_UNTIL_CUT_S", until_cut_s)
    monkeypatch.setattr(artifacts_module, "_UNTIL_STORED_S", until_stored_s)


@asynccontextmanager
async def sending(artifacts: ArtifactStore, size_bytes: int, offset_bytes: int = 0) -> AsyncIterator[Upload]:
    """It is cut off at the end of the block, which is when the controller notices it."""
    with suppress(asyncio.CancelledError):
        async with artifacts.begin_upload(len(CONTENT), SHA256, offset_bytes) as upload:
            await upload.write(CONTENT[offset_bytes:size_bytes])
            yield upload
            raise asyncio.CancelledError


async def find_waiting(artifacts: ArtifactStore) -> "asyncio.Task[int]":
    """What asks and has no answer yet."""
    asking = asyncio.create_task(artifacts.find_upload(len(CONTENT), SHA256))
    assert not (await asyncio.wait({asking}, timeout=0.05))[0]
    return asking


@pytest.mark.parametrize("size_bytes", [4, len(CONTENT)])
async def test_a_cut_that_is_not_noticed_yet_is_waited_for(artifacts: ArtifactStore, size_bytes: int) -> None:
    async with sending(artifacts, size_bytes):
        askings = [await find_waiting(artifacts) for _ in range(2)]
    assert await asyncio.gather(*askings) == [size_bytes, size_bytes]


async def test_a_sender_that_goes_on_is_not_waited_for_for_ever(
    artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_patient(monkeypatch, SHORT_S, LONG_S)
    async with sending(artifacts, 4):
        assert await artifacts.find_upload(len(CONTENT), SHA256) == 0


async def test_what_has_arrived_whole_is_waited_for_longer_but_not_for_ever(
    artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_patient(monkeypatch, SHORT_S, LONG_S)
    async with sending(artifacts, len(CONTENT)):
        asking = await find_waiting(artifacts)
    assert await asking == len(CONTENT)
    be_patient(monkeypatch, LONG_S, SHORT_S)
    async with sending(artifacts, len(CONTENT), offset_bytes=len(CONTENT)):
        assert await artifacts.find_upload(len(CONTENT), SHA256) == 0


async def test_who_leaves_while_he_waits_takes_nobody_along(artifacts: ArtifactStore) -> None:
    async with sending(artifacts, 4):
        leaving, staying = await find_waiting(artifacts), await find_waiting(artifacts)
        leaving.cancel()
    assert await staying == 4


async def test_another_file_is_not_waited_for(artifacts: ArtifactStore) -> None:
    async with sending(artifacts, 4), artifacts.begin_upload(len(CONTENT)):
        assert await artifacts.find_upload(len(CONTENT) + 1, SHA256) == 0
        assert await artifacts.find_upload(len(CONTENT), "0" * 64) == 0
