"""A registration is all or nothing, also when its caller goes away or the database fails."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from controlplane.domain import Signature, TensorSpec, Version, VersionDraft
from controlplane.registry.announcement import Announcement
from controlplane.registry.artifacts import ArtifactStore
from controlplane.registry.inspection import ModelInspector
from controlplane.registry.registrar import Registrar
from controlplane.registry.store import RegistryStore
from modelyard.errors import AlreadyExistsError, DeadlineExceededError, InvalidArgumentError, UnavailableError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONTENT = b"a model"
ANNOUNCED = Announcement("resnet", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), user="ann")
SIGNATURE = Signature((TensorSpec("x", "FP32", (1,)),), (TensorSpec("y", "FP32", (1,)),))


class Inspector(ModelInspector):
    """Answers at once; refuses where it is told to."""

    refusal = ""

    async def inspect(self, path: Path) -> Signature:
        assert path.read_bytes() == CONTENT  # noqa: ASYNC240
        if self.refusal:
            raise InvalidArgumentError(self.refusal)
        return SIGNATURE


class Store:
    """Keeps drafts; waits in `create_version` until it may go on, and fails where it is told to."""

    def __init__(self) -> None:
        self.made: list[VersionDraft] = []
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.fails = False

    def check_new(self, model: str, sha256: str) -> None:
        if any((draft.model, draft.sha256) == (model, sha256) for draft in self.made):
            raise AlreadyExistsError(f"{model}@1 has exactly these bytes already")

    def create_version(self, draft: VersionDraft, now: datetime) -> Version:
        self.entered.set()
        self.go_on.wait(20)
        if self.fails:
            raise UnavailableError("the database is away")
        self.check_new(draft.model, draft.sha256)
        self.made.append(draft)
        return Version(len(self.made), draft, now)


class Registration:
    """A registrar over the stand-ins, and what is left of its work."""

    def __init__(self, folder: Path, stalled_upload_s: float = 60.0) -> None:
        self.folder = folder
        self.store, self.inspector = Store(), Inspector()
        self.told = 0
        artifacts = ArtifactStore(str(folder), spool=folder)
        artifacts.prepare()
        self.registrar = Registrar(
            cast(RegistryStore, self.store),
            artifacts,
            self.inspector,
            max_model_bytes=1000,
            stalled_upload_s=stalled_upload_s,
            now=lambda: NOW,
            on_registered=self._count,
        )

    def _count(self) -> None:
        self.told += 1

    async def run(self, *chunks: bytes) -> Version:
        async def arrive() -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk

        return await self.registrar.register(ANNOUNCED, arrive())

    def files(self, below: str) -> int:
        return sum(path.is_file() for path in (self.folder / below).rglob("*"))


@pytest.fixture
def registration(tmp_path: Path) -> Registration:
    return Registration(tmp_path / "artifacts")


async def test_a_file_becomes_a_version_with_all_its_facts(registration: Registration) -> None:
    version = await registration.run(b"a ", b"", b"model")
    assert (version.model_id, version.created_at, registration.told) == ("resnet@1", NOW, 1)
    facts = version.facts
    assert (facts.sha256, facts.size_bytes, facts.signature, facts.user) == (ANNOUNCED.sha256, 7, SIGNATURE, "ann")
    assert Path(facts.uri.removeprefix("file://")).read_bytes() == CONTENT  # noqa: ASYNC240
    assert registration.files("incoming") == 0


@pytest.mark.parametrize("chunks", [[], [b"a mode"], [b"a model", b"!"], [b"A model"]])
async def test_what_is_not_as_announced_leaves_nothing(registration: Registration, chunks: list[bytes]) -> None:
    with pytest.raises(Exception, match="bytes"):
        await registration.run(*chunks)
    assert (registration.files(""), registration.store.made, registration.told) == (0, [], 0)


async def test_a_file_that_is_refused_leaves_nothing(registration: Registration) -> None:
    registration.inspector.refusal = "the file is empty"
    with pytest.raises(InvalidArgumentError, match="empty"):
        await registration.run(CONTENT)
    assert (registration.files(""), registration.store.made, registration.told) == (0, [], 0)


async def test_a_caller_that_leaves_at_the_last_step_leaves_a_whole_version(registration: Registration) -> None:
    registration.store.go_on.clear()
    task = asyncio.create_task(registration.run(CONTENT))
    await asyncio.to_thread(registration.store.entered.wait, 20)
    task.cancel()
    registration.store.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (len(registration.store.made), registration.files("sha256"), registration.told) == (1, 1, 1)


async def test_a_database_that_fails_can_be_tried_again(registration: Registration) -> None:
    registration.store.fails = True
    with pytest.raises(UnavailableError, match="away"):
        await registration.run(CONTENT)
    assert registration.told == 0
    registration.store.fails = False
    assert (await registration.run(CONTENT)).number == 1
    assert (registration.files("sha256"), registration.files("incoming")) == (1, 0)


async def test_an_upload_that_stalls_is_ended_and_leaves_nothing(tmp_path: Path) -> None:
    registration = Registration(tmp_path / "artifacts", stalled_upload_s=0.01)

    async def stall() -> AsyncIterator[bytes]:
        yield CONTENT[:3]
        while True:
            yield b""
            await asyncio.sleep(0)

    with pytest.raises(DeadlineExceededError, match=r"came for 0\.01 s, after 3 of 7: is its sender"):
        await registration.registrar.register(ANNOUNCED, stall())
    assert (registration.files(""), registration.store.made) == (0, [])


async def test_bytes_that_are_known_are_refused_before_any_comes(registration: Registration) -> None:
    await registration.run(CONTENT)

    async def chunks() -> AsyncIterator[bytes]:
        pytest.fail("a chunk was asked for")
        yield b""

    with pytest.raises(AlreadyExistsError, match="resnet@1"):
        await registration.registrar.register(ANNOUNCED, chunks())


async def test_a_stored_file_that_was_lost_is_stored_again(registration: Registration) -> None:
    path = Path((await registration.run(CONTENT)).facts.uri.removeprefix("file://"))
    path.unlink()  # noqa: ASYNC240
    with pytest.raises(AlreadyExistsError, match="resnet@1"):
        await registration.run(CONTENT)
    assert path.read_bytes() == CONTENT  # noqa: ASYNC240
