"""A registration is all or nothing, also when its caller goes away or the database fails."""

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from controlplane.domain import (
    Author,
    ModelFormat,
    OnnxDetails,
    Origin,
    Packaging,
    Signature,
    Source,
    TensorrtDetails,
    TensorSpec,
    Version,
    VersionDraft,
)
from controlplane.registry.announcement import Announcement
from controlplane.registry.files.artifacts import ArtifactStore
from controlplane.registry.files.file_locks import FileLocks
from controlplane.registry.files.purge import Purger
from controlplane.registry.formats.inspected import Inspected
from controlplane.registry.formats.inspection import ModelInspector
from controlplane.registry.registrar import Registrar
from modelyard.errors import (
    AbortedError,
    AlreadyExistsError,
    DataLossError,
    DeadlineExceededError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)
from modelyard.resource_names import VersionName
from tests.harness.memory_registry import MemoryRegistry

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONTENT = b"a model"
SPEC = (TensorSpec("x", "FP32", (1,)),)
SIGNATURE = Signature(SPEC, SPEC)
MADE_SAMPLE = b"made"


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def announce(content: bytes = CONTENT, model: str = "resnet") -> Announcement:
    return Announcement(
        model,
        len(content),
        sha256_of(content),
        user="ann",
        source=Source("abc", "run-7", "s3://data"),
        origin=Origin("old@3", "eve", NOW),
    )


ANNOUNCED = announce()


class Inspector(ModelInspector):
    """Answers at once; refuses where it is told to. What begins with "zip:" is unpacked."""

    refusal = ""
    looked_at = 0

    async def inspect(self, path: Path, *, workspace: Path, gpu: str = "", sample: bytes = b"") -> Inspected:
        self.looked_at += 1
        content = path.read_bytes()  # noqa: ASYNC240
        if self.refusal:
            raise InvalidArgumentError(self.refusal)
        if content.startswith(b"plan"):
            details = TensorrtDetails("10.3", gpu)
            return Inspected(ModelFormat.TENSORRT, Packaging.FILE, Signature((), ()), details, path, None)
        packaging = Packaging.FILE
        if content.startswith(b"zip:"):
            path, packaging = workspace / "model.tar", Packaging.TAR
            path.write_bytes(content[4:])
        details_ = OnnxDetails(8, {"": 17})
        return Inspected(ModelFormat.ONNX, packaging, SIGNATURE, details_, path, sample or MADE_SAMPLE)


class Store(MemoryRegistry):
    """Waits in `create_version` until it may go on, and fails where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.fails = False

    def create_version(self, draft: VersionDraft, now: datetime) -> Version:
        self.entered.set()
        self.go_on.wait(20)
        if self.fails:
            raise UnavailableError("the database is away")
        return super().create_version(draft, now)


class Registration:
    """A registrar over the stand-ins, and what is left of its work."""

    def __init__(self, folder: Path, stalled_upload_s: float = 60.0) -> None:
        self.folder = folder
        self.store, self.inspector = Store(), Inspector()
        self.told = 0
        self.artifacts = ArtifactStore(str(folder), spool=folder)
        locks = FileLocks()
        self.purger = Purger(self.store, self.artifacts, locks)
        self.registrar = Registrar(
            self.store,
            self.artifacts,
            self.inspector,
            locks,
            max_model_bytes=1000,
            stalled_upload_s=stalled_upload_s,
            now=lambda: NOW,
            on_registered=self._count,
        )

    def _count(self) -> None:
        self.told += 1

    async def run(self, *chunks: bytes, announced: Announcement = ANNOUNCED) -> Version:
        async def arrive() -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk

        return await self.registrar.register(announced, arrive())

    async def run_without_a_byte(self, announced: Announcement) -> Version:
        async def arrive() -> AsyncIterator[bytes]:
            pytest.fail("a chunk was asked for")
            yield b""

        return await self.registrar.register(announced, arrive())

    def made(self) -> int:
        return len(self.store.list_models(100, "").items)

    def files(self, below: str) -> int:
        return sum(path.is_file() for path in (self.folder / below).rglob("*"))

    def is_untouched(self) -> bool:
        return (self.files(""), self.made(), self.told) == (0, 0, 0)

    def path_of(self, content: bytes = CONTENT) -> Path:
        sha256 = sha256_of(content)
        return self.folder / "sha256" / sha256[:2] / sha256

    def damage(self, content: bytes = CONTENT) -> None:
        self.path_of(content).chmod(0o600)
        self.path_of(content).write_bytes(b"!" * len(content))


@pytest.fixture
async def registration(tmp_path: Path) -> Registration:
    made = Registration(tmp_path / "artifacts")
    await made.artifacts.prepare()
    return made


async def test_a_file_becomes_a_version_with_all_its_facts(registration: Registration) -> None:
    version = await registration.run(b"a ", b"", b"model")
    assert (version.model_id, version.created_at, registration.told) == ("resnet@1", NOW, 1)
    facts = version.facts
    assert (facts.sha256, facts.size_bytes, facts.signature, facts.user) == (ANNOUNCED.sha256, 7, SIGNATURE, "ann")
    assert (facts.source, facts.origin) == (ANNOUNCED.source, ANNOUNCED.origin)
    assert (facts.packaging, facts.details) == (Packaging.FILE, OnnxDetails(8, {"": 17}))
    assert facts.uri == f"file://{registration.path_of()}"
    assert registration.path_of().read_bytes() == CONTENT
    assert facts.sample is not None
    assert (facts.sample.sha256, facts.sample.size_bytes, facts.sample.is_made) == (sha256_of(MADE_SAMPLE), 4, True)
    assert registration.path_of(MADE_SAMPLE).read_bytes() == MADE_SAMPLE
    assert registration.files("incoming") == 0


async def test_a_given_sample_is_kept(registration: Registration) -> None:
    version = await registration.run(CONTENT, announced=replace(ANNOUNCED, sample=b"given"))
    assert version.facts.sample is not None
    assert (version.facts.sample.sha256, version.facts.sample.is_made) == (sha256_of(b"given"), False)
    assert registration.path_of(b"given").read_bytes() == b"given"


async def test_of_an_archive_what_was_made_of_it_is_kept(registration: Registration) -> None:
    archive = b"zip:" + CONTENT
    version = await registration.run(archive, announced=announce(archive))
    facts = version.facts
    assert (facts.packaging, facts.sha256, facts.size_bytes) == (Packaging.TAR, sha256_of(CONTENT), len(CONTENT))
    assert registration.path_of().read_bytes() == CONTENT
    assert not registration.path_of(archive).exists()
    assert registration.files("incoming") == 0
    other = b"zip:" + CONTENT  # the same content in another wrapping is the same model
    with pytest.raises(AlreadyExistsError, match="resnet@1"):
        await registration.run(other, announced=announce(other))
    with pytest.raises(AlreadyExistsError, match="resnet@1"):
        await registration.run_without_a_byte(ANNOUNCED)


async def test_an_archive_that_unpacks_to_too_much_is_refused(registration: Registration, tmp_path: Path) -> None:
    class Bomb(Inspector):
        async def inspect(self, path: Path, *, workspace: Path, gpu: str = "", sample: bytes = b"") -> Inspected:
            found = await super().inspect(path, workspace=workspace)
            (workspace / "bomb").write_bytes(b"0" * 1001)
            return replace(found, file=workspace / "bomb", packaging=Packaging.TAR)

    registration.registrar._inspector = Bomb()
    with pytest.raises(ResourceExhaustedError, match="1001 bytes and the controller takes 1000"):
        await registration.run(CONTENT)
    assert registration.is_untouched()


@pytest.mark.parametrize("chunks", [[], [b"a model", b"!"], [b"A model"]])
async def test_what_is_not_as_announced_leaves_nothing(registration: Registration, chunks: list[bytes]) -> None:
    with pytest.raises(Exception, match="bytes"):
        await registration.run(*chunks)
    assert registration.is_untouched()


async def test_a_stream_that_ends_too_early_was_cut_off(registration: Registration) -> None:
    with pytest.raises(InvalidArgumentError, match="6 bytes arrived and 7 were announced"):
        await registration.run(b"a mode")
    assert (registration.made(), registration.files("sha256")) == (0, 0)
    assert await registration.registrar.find_upload(7, ANNOUNCED.sha256) == (6, False)


async def test_a_file_that_is_refused_leaves_nothing(registration: Registration) -> None:
    registration.inspector.refusal = "the file is empty"
    with pytest.raises(InvalidArgumentError, match="empty"):
        await registration.run(CONTENT)
    assert registration.is_untouched()


async def test_a_caller_that_leaves_at_the_last_step_leaves_a_whole_version(registration: Registration) -> None:
    registration.store.go_on.clear()
    task = asyncio.create_task(registration.run(CONTENT))
    await asyncio.to_thread(registration.store.entered.wait, 20)
    task.cancel()
    registration.store.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (registration.made(), registration.files("sha256"), registration.told) == (1, 2, 1)
    assert registration.files("incoming") == 0


async def test_a_database_that_fails_can_be_tried_again(registration: Registration) -> None:
    registration.store.fails = True
    with pytest.raises(UnavailableError, match="away"):
        await registration.run(CONTENT)
    assert registration.told == 0
    registration.store.fails = False
    assert (await registration.run(CONTENT)).number == 1
    assert (registration.files("sha256"), registration.files("incoming")) == (2, 0)


async def test_an_upload_that_stalls_is_ended_and_can_be_gone_on_with(tmp_path: Path) -> None:
    registration = Registration(tmp_path / "artifacts", stalled_upload_s=0.01)
    await registration.artifacts.prepare()

    async def stall() -> AsyncIterator[bytes]:
        yield CONTENT[:3]
        while True:
            yield b""
            await asyncio.sleep(0)

    with pytest.raises(DeadlineExceededError, match=r"came for 0\.01 s, after 3 of 7: is its sender"):
        await registration.registrar.register(ANNOUNCED, stall())
    assert (registration.files("sha256"), registration.files("incoming"), registration.made()) == (0, 1, 0)
    assert await registration.registrar.find_upload(7, ANNOUNCED.sha256) == (3, False)
    version = await registration.run(CONTENT[3:], announced=replace(ANNOUNCED, offset_bytes=3))
    assert (version.number, registration.files("incoming")) == (1, 0)


async def test_bytes_that_are_known_are_refused_before_any_comes(registration: Registration) -> None:
    await registration.run(CONTENT)
    with pytest.raises(AlreadyExistsError, match="resnet@1"):
        await registration.run_without_a_byte(ANNOUNCED)


async def test_a_stored_file_that_was_lost_is_stored_again(registration: Registration) -> None:
    await registration.run(CONTENT)
    registration.path_of().unlink()
    assert await registration.registrar.find_upload(7, ANNOUNCED.sha256) == (0, False)
    with pytest.raises(AlreadyExistsError, match="resnet@1"):
        await registration.run(CONTENT)
    assert registration.path_of().read_bytes() == CONTENT
    assert await registration.registrar.find_upload(7, ANNOUNCED.sha256) == (7, True)


async def test_a_content_that_is_stored_needs_neither_its_bytes_nor_a_look(registration: Registration) -> None:
    first = await registration.run(CONTENT)
    assert await registration.registrar.find_upload(7, ANNOUNCED.sha256) == (7, True)
    other = replace(announce(model="other"), user="bob", description="mine", offset_bytes=7)
    version = await registration.run_without_a_byte(other)
    assert (version.model_id, version.facts.user, version.facts.description) == ("other@1", "bob", "mine")
    assert (version.facts.details, version.facts.sample) == (first.facts.details, first.facts.sample)
    assert registration.inspector.looked_at == 1
    assert registration.told == 2


async def test_damage_is_found_out_whatever_was_said_of_the_file_before_and_mended(registration: Registration) -> None:
    await registration.run(CONTENT)
    find_upload = registration.registrar.find_upload
    assert await find_upload(7, ANNOUNCED.sha256) == (7, True)
    registration.damage()
    assert await find_upload(7, ANNOUNCED.sha256) == (7, True)  # nobody has read it
    other = announce(model="other")
    with pytest.raises(AbortedError, match=r"0 bytes of this file are kept here, .* ask again"):
        await registration.run(announced=replace(other, offset_bytes=7))
    assert await find_upload(7, ANNOUNCED.sha256) == (0, False)
    assert (await registration.run(CONTENT, announced=other)).model_id == "other@1"
    assert registration.path_of().read_bytes() == CONTENT
    assert await find_upload(7, ANNOUNCED.sha256) == (7, True)


async def test_damage_that_somebody_else_has_mended_is_forgotten(registration: Registration) -> None:
    await registration.run(CONTENT)
    registration.damage()
    with pytest.raises(InvalidArgumentError, match="0 bytes arrived"):
        await registration.run(announced=announce(model="other"))
    registration.path_of().write_bytes(CONTENT)
    await registration.run_without_a_byte(announce(model="other"))
    assert await registration.registrar.find_upload(7, ANNOUNCED.sha256) == (7, True)


async def test_who_asks_while_the_file_is_being_stored_learns_that_it_was(registration: Registration) -> None:
    registration.store.go_on.clear()
    sending = asyncio.create_task(registration.run(CONTENT))
    await asyncio.to_thread(registration.store.entered.wait, 20)
    sending.cancel()  # a sender who was cut off
    asking = asyncio.create_task(registration.registrar.find_upload(7, ANNOUNCED.sha256))
    assert not (await asyncio.wait({asking}, timeout=0.05))[0]
    registration.store.go_on.set()
    assert await asking == (7, True)
    await asyncio.gather(sending, return_exceptions=True)


async def test_the_sample_of_one_owner_is_not_anothers(registration: Registration) -> None:
    await registration.run(CONTENT, announced=replace(ANNOUNCED, sample=b"secret"))
    version = await registration.run_without_a_byte(announce(model="other"))
    assert version.facts.sample is not None
    assert version.facts.sample.sha256 == sha256_of(MADE_SAMPLE)
    version = await registration.run_without_a_byte(replace(announce(model="third"), sample=b"given"))
    assert version.facts.sample is not None
    assert (version.facts.sample.sha256, version.facts.sample.is_made) == (sha256_of(b"given"), False)
    assert registration.inspector.looked_at == 3
    assert registration.path_of().read_bytes() == CONTENT


async def test_a_plan_keeps_the_gpu_that_its_owner_named(registration: Registration) -> None:
    plan = b"plan of an engine"
    first = await registration.run(plan, announced=replace(announce(plan), gpu="A10"))
    assert (first.facts.details, first.facts.sample) == (TensorrtDetails("10.3", "A10"), None)
    second = await registration.run_without_a_byte(announce(plan, "other"))
    assert second.facts.details == TensorrtDetails("10.3", "A10")
    third = await registration.run_without_a_byte(replace(announce(plan, "third"), gpu="L4"))
    assert third.facts.details == TensorrtDetails("10.3", "L4")


async def test_registrations_of_one_content_at_once_keep_one_file(registration: Registration) -> None:
    versions = await asyncio.gather(
        *(registration.run(CONTENT, announced=announce(model=f"m{number}")) for number in range(8))
    )
    assert {version.model_id for version in versions} == {f"m{number}@1" for number in range(8)}
    assert (registration.files("sha256"), registration.files("incoming")) == (2, 0)


async def test_a_model_takes_one_of_two_equal_registrations(registration: Registration) -> None:
    outcomes = await asyncio.gather(*(registration.run(CONTENT) for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(outcome, Version) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, AlreadyExistsError) for outcome in outcomes) == 3


async def test_a_purge_at_the_same_time_never_takes_the_file_of_a_version(registration: Registration) -> None:
    """Many times, for the order of the two is the event loop's."""
    for number in range(20):
        await registration.run(CONTENT, announced=announce(model=f"old{number}"))
        registration.store.delete_version(f"old{number}", 1, Author(NOW))
        purging = registration.purger.purge(
            Author(NOW), only=VersionName(f"old{number}", 1), min_age_s=0, dry_run=False
        )
        registering = registration.run(CONTENT, announced=announce(model=f"new{number}"))
        both = (purging, registering) if number % 2 else (registering, purging)
        await asyncio.gather(*both)
        assert registration.path_of().read_bytes() == CONTENT
        assert registration.path_of(MADE_SAMPLE).read_bytes() == MADE_SAMPLE
        registration.store.delete_version(f"new{number}", 1, Author(NOW))
        await registration.purger.purge(Author(NOW), only=None, min_age_s=0, dry_run=False)
        assert registration.files("sha256") == 0


async def test_a_file_that_is_being_removed_is_not_relied_on(
    registration: Registration, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registration.run(CONTENT)
    registration.store.delete_version("resnet", 1, Author(NOW))
    entered, go_on, remove = asyncio.Event(), asyncio.Event(), registration.artifacts.remove

    async def wait(sha256: str) -> bool:
        entered.set()
        await go_on.wait()
        return await remove(sha256)

    monkeypatch.setattr(registration.artifacts, "remove", wait)
    purging = asyncio.create_task(registration.purger.purge(Author(NOW), only=None, min_age_s=0, dry_run=False))
    await entered.wait()
    registering = asyncio.create_task(registration.run(CONTENT, announced=announce(model="other")))
    await asyncio.wait({registering}, timeout=0.3)  # time to go wrong in
    go_on.set()
    await asyncio.gather(purging, registering)
    assert registration.path_of().read_bytes() == CONTENT
    assert registration.path_of(MADE_SAMPLE).read_bytes() == MADE_SAMPLE


async def test_a_file_is_not_removed_between_its_keeping_and_its_record(registration: Registration) -> None:
    registration.store.go_on.clear()
    registering = asyncio.create_task(registration.run(CONTENT))
    await asyncio.to_thread(registration.store.entered.wait, 20)
    for content in (CONTENT, MADE_SAMPLE):
        os.utime(registration.path_of(content), times=(0, 0))  # old enough for an orphan
    purging = asyncio.create_task(registration.purger.purge(Author(NOW), only=None, min_age_s=0, dry_run=False))
    await asyncio.wait({purging}, timeout=0.3)
    registration.store.go_on.set()
    await asyncio.gather(purging, registering)
    assert (purging.result().removed_files, registration.files("sha256")) == (0, 2)


class Steps:
    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int]] = []

    def __call__(self, step: str, done_bytes: int, total_bytes: int) -> None:
        self.seen.append((step, done_bytes, total_bytes))


async def test_the_controller_reads_a_file_itself(registration: Registration, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(CONTENT)
    steps = Steps()
    unnamed = replace(ANNOUNCED, sha256="", size_bytes=0)
    version = await registration.registrar.register_from_uri(unnamed, f"file://{tmp_path}/model", steps)
    assert (version.facts.sha256, version.facts.size_bytes) == (ANNOUNCED.sha256, 7)
    assert steps.seen == [("reading", 0, 7), ("reading", 7, 7), ("checking", 0, 7), ("storing", 0, 7)]
    with pytest.raises(AlreadyExistsError, match="resnet@1"):
        await registration.registrar.register_from_uri(unnamed, f"file://{tmp_path}/model", steps)
    other = replace(unnamed, model="other")
    await registration.registrar.register_from_uri(other, f"file://{tmp_path}/model", steps)
    assert registration.inspector.looked_at == 1
    assert (tmp_path / "model").read_bytes() == CONTENT
    assert registration.files("incoming") == 0


@pytest.mark.parametrize(
    ("change", "error"),
    [({"size_bytes": 8}, InvalidArgumentError), ({"sha256": "0" * 64}, DataLossError)],
)
async def test_what_is_announced_of_a_uri_is_checked(
    registration: Registration, tmp_path: Path, change: dict[str, object], error: type[Exception]
) -> None:
    (tmp_path / "model").write_bytes(CONTENT)
    announced = replace(ANNOUNCED, **change)  # type: ignore[arg-type]
    with pytest.raises(error, match="announced"):
        await registration.registrar.register_from_uri(announced, f"file://{tmp_path}/model", Steps())
    assert registration.is_untouched()


@pytest.mark.parametrize("content", [b"A model", b"another model"])
async def test_what_is_announced_of_a_uri_is_checked_of_a_content_that_is_stored_too(
    registration: Registration, tmp_path: Path, content: bytes
) -> None:
    await registration.run(CONTENT)
    (tmp_path / "model").write_bytes(content)
    announced = replace(announce(model="other"), size_bytes=0)
    with pytest.raises(DataLossError, match="announced"):
        await registration.registrar.register_from_uri(announced, f"file://{tmp_path}/model", Steps())
    assert (registration.made(), registration.told) == (1, 1)


async def test_a_sha256_without_a_size_is_enough_of_a_content_that_is_stored(
    registration: Registration, tmp_path: Path
) -> None:
    await registration.run(CONTENT)
    (tmp_path / "model").write_bytes(CONTENT)
    uri = f"file://{tmp_path}/model"
    announced = replace(announce(model="other"), size_bytes=0)
    version = await registration.registrar.register_from_uri(announced, uri, Steps())
    assert (version.model_id, version.facts.size_bytes, version.facts.source.uri) == ("other@1", 7, uri)
    assert registration.inspector.looked_at == 1


async def test_too_much_is_refused_before_it_is_read(registration: Registration, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"x" * 1001)
    steps = Steps()
    with pytest.raises(ResourceExhaustedError, match="takes 1000 at most"):
        await registration.registrar.register_from_uri(
            replace(ANNOUNCED, sha256="", size_bytes=0), f"file://{tmp_path}/model", steps
        )
    assert steps.seen == []
    assert registration.is_untouched()
