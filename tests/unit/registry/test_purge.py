"""A purge removes what no record needs, and nothing else, wherever it is cut off."""

import asyncio
import hashlib
import os
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from controlplane.domain import Author, ModelFormat, Sample, Signature, TensorSpec, Version, VersionDraft
from controlplane.registry.files.artifacts import ArtifactStore
from controlplane.registry.files.file_locks import FileLocks
from controlplane.registry.files.purge import Purger
from controlplane.registry.files.purged import Purged
from modelyard.errors import FailedPreconditionError, NotFoundError, UnavailableError
from modelyard.resource_names import VersionName
from tests.harness.memory_registry import MemoryRegistry

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SPEC = (TensorSpec("x", "FP32", (1,)),)


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Yard:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = MemoryRegistry()
        self.artifacts = ArtifactStore(str(folder / "artifacts"), spool=folder)
        self.purger = Purger(self.store, self.artifacts, FileLocks())

    async def keep(self, content: bytes, age_s: float = 0.0) -> None:
        file = self.folder / "file"
        file.write_bytes(content)
        await self.artifacts.keep(file, sha256_of(content), len(content))
        os.utime(self.path_of(content), times=(time.time() - age_s,) * 2)

    async def register(self, model: str, content: bytes, sample: bytes = b"", **facts: Any) -> Version:
        await self.keep(content)
        kept_sample = None
        if sample:
            await self.keep(sample)
            kept_sample = Sample(sha256_of(sample), len(sample), is_made=True)
        draft = VersionDraft(
            model, ModelFormat.ONNX, "", sha256_of(content), len(content), Signature(SPEC, SPEC), sample=kept_sample
        )
        return self.store.create_version(replace(draft, **facts), NOW)

    def delete(self, model: str, number: int = 1, at: datetime = NOW) -> None:
        self.store.delete_version(model, number, Author(at))

    async def purge(
        self, only: VersionName | None = None, min_age_s: int = 0, dry_run: bool = False, at: datetime = NOW
    ) -> Purged:
        return await self.purger.purge(Author(at, "ann"), only=only, min_age_s=min_age_s, dry_run=dry_run)

    def path_of(self, content: bytes) -> Path:
        sha256 = sha256_of(content)
        return self.folder / "artifacts" / "sha256" / sha256[:2] / sha256

    def has(self, *contents: bytes) -> list[bool]:
        return [self.path_of(content).exists() for content in contents]


@pytest.fixture
async def yard(tmp_path: Path) -> Yard:
    made = Yard(tmp_path)
    await made.artifacts.prepare()
    return made


def model_ids(versions: Sequence[Version]) -> list[str]:
    return [version.model_id for version in versions]


async def test_what_was_deleted_goes_and_what_was_not_stays(yard: Yard) -> None:
    await yard.register("a", b"one", b"sample")
    await yard.register("a", b"three")
    yard.delete("a", 1)
    done = await yard.purge()
    assert (model_ids(done.versions), done.removed_files, done.removed_bytes) == (["a@1"], 2, 9)
    assert yard.has(b"one", b"sample", b"three") == [False, False, True]
    assert yard.store.get_version("a", 1).purged_at == NOW
    assert await yard.purge() == Purged((), 0, 0)


async def test_a_file_stays_while_another_version_has_it(yard: Yard) -> None:
    for model in ("a", "b"):
        await yard.register(model, b"same", b"sample")
    yard.delete("a")
    assert (await yard.purge()).removed_files == 0
    assert yard.has(b"same", b"sample") == [True, True]
    yard.delete("b")
    assert (await yard.purge()).removed_files == 2


async def test_only_what_is_old_enough_goes(yard: Yard) -> None:
    await yard.register("a", b"one")
    await yard.register("b", b"two")
    yard.delete("a", at=NOW - timedelta(days=2))
    yard.delete("b", at=NOW - timedelta(hours=1))
    assert model_ids((await yard.purge(min_age_s=86_400)).versions) == ["a@1"]
    with pytest.raises(FailedPreconditionError, match="b@1 was deleted at 2026-01-01 23:00 only"):
        await yard.purge(VersionName("b", 1), min_age_s=86_400)
    assert yard.has(b"one", b"two") == [False, True]


async def test_one_version_alone(yard: Yard) -> None:
    for model, content in (("a", b"one"), ("b", b"two")):
        await yard.register(model, content)
    with pytest.raises(FailedPreconditionError, match="not deleted; delete it first: modelyard delete a@1"):
        await yard.purge(VersionName("a", 1))
    with pytest.raises(NotFoundError):
        await yard.purge(VersionName("a", 2))
    for model in "ab":
        yard.delete(model)
    assert model_ids((await yard.purge(VersionName("a", 1))).versions) == ["a@1"]
    assert yard.has(b"one", b"two") == [False, True]
    again = await yard.purge(VersionName("a", 1))
    assert (model_ids(again.versions), again.removed_files) == (["a@1"], 0)


@pytest.mark.parametrize("fate", ["restored", "purged", "deleted anew"])
async def test_a_version_that_is_restored_or_purged_meanwhile_stops_no_purge_of_many(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, fate: str
) -> None:
    for model, content in (("a", b"one"), ("b", b"two"), ("c", b"three")):
        await yard.register(model, content)
        yard.delete(model)
    await yard.keep(b"orphan", age_s=3700)
    listed = yard.store.list_purgeable

    def list_and_change(*args: Any) -> Sequence[Version]:
        found = listed(*args)
        if found and fate == "purged":
            yard.store.purge_version("b", 1, Author(NOW))
        elif found:
            yard.store.restore_version("b", 1, Author(NOW))
        if found and fate == "deleted anew":
            yard.delete("b", at=NOW + timedelta(seconds=1))
        return found

    monkeypatch.setattr(yard.store, "list_purgeable", list_and_change)
    done = await yard.purge()
    assert (model_ids(done.versions), done.version_count, done.removed_files) == (["a@1", "c@1"], 2, 3)
    assert yard.has(b"one", b"three", b"orphan") == [False] * 3
    assert fate == "purged" or yard.has(b"two") == [True]


async def test_the_one_version_that_is_restored_meanwhile_is_refused(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    await yard.register("a", b"one")
    yard.delete("a")
    get_version = yard.store.get_version

    def get_and_restore(model: str, number: int) -> Version:
        monkeypatch.setattr(yard.store, "get_version", get_version)
        found = get_version(model, number)
        yard.store.restore_version(model, number, Author(NOW))
        return found

    monkeypatch.setattr(yard.store, "get_version", get_and_restore)
    with pytest.raises(FailedPreconditionError, match="a@1 is not deleted"):
        await yard.purge(VersionName("a", 1))
    assert yard.has(b"one") == [True]


async def test_files_without_a_record_go_once_they_are_old(yard: Yard) -> None:
    await yard.register("a", b"one")
    await yard.keep(b"orphan", age_s=3700)
    await yard.keep(b"new orphan", age_s=3500)
    foreseen = await yard.purge(dry_run=True)
    done = await yard.purge()
    assert (done.removed_files, done.removed_bytes) == (foreseen.removed_files, foreseen.removed_bytes) == (1, 6)
    assert yard.has(b"one", b"orphan", b"new orphan") == [True, False, True]


async def test_a_dry_run_tells_exactly_what_would_go_and_removes_nothing(yard: Yard) -> None:
    await yard.register("a", b"one", b"sample")
    await yard.register("b", b"one", b"sample")  # deleted, too: so the shared files go
    await yard.register("c", b"two", b"other sample")
    await yard.register("d", b"three", b"other sample")  # it needs the sample
    await yard.keep(b"orphan", age_s=3700)
    for model in "abc":
        yard.delete(model)
    foreseen = await yard.purge(dry_run=True)
    assert model_ids(foreseen.versions) == ["a@1", "b@1", "c@1"]
    assert yard.has(b"one", b"sample", b"two", b"other sample", b"orphan") == [True] * 5
    assert yard.store.get_version("a", 1).purged_at is None
    done = await yard.purge()
    assert (done.removed_files, done.removed_bytes) == (foreseen.removed_files, foreseen.removed_bytes) == (4, 18)
    assert yard.has(b"other sample", b"three") == [True, True]


async def test_a_dry_run_tells_nothing_of_files_that_something_deleted_later_needs(yard: Yard) -> None:
    for model in "ab":
        await yard.register(model, b"same", b"sample of %s" % model.encode())
    yard.delete("a", at=NOW - timedelta(days=2))
    yard.delete("b", at=NOW - timedelta(hours=1))
    foreseen = await yard.purge(min_age_s=86_400, dry_run=True)
    assert (model_ids(foreseen.versions), foreseen.removed_files) == (["a@1"], 1)
    assert foreseen == replace(await yard.purge(min_age_s=86_400), versions=foreseen.versions)


async def test_a_dry_run_remembers_no_versions(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that were ever deleted may be many: what they have in common is the store's to find out."""
    for number in range(5):
        await yard.register("a", b"%d" % number)
        yard.delete("a", number + 1)
    told_apart, is_needed = list[int](), yard.store.is_needed

    def remember(sha256: str, without: Collection[VersionName] = (), deleted_before: datetime | None = None) -> bool:
        told_apart.append(len(without))
        return is_needed(sha256, without, deleted_before)

    monkeypatch.setattr(yard.store, "is_needed", remember)
    assert (await yard.purge(dry_run=True)).removed_files == 5
    assert max(told_apart) <= 1


async def test_a_store_that_dies_in_the_middle_leaves_work_for_the_next_purge(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    await yard.register("a", b"one")
    yard.delete("a")

    async def fail(sha256: str) -> bool:
        raise UnavailableError("the store is away")

    with monkeypatch.context() as patched:
        patched.setattr(yard.artifacts, "remove", fail)
        with pytest.raises(UnavailableError):
            await yard.purge()
    # The record has said by then that the file is gone.
    assert yard.store.get_version("a", 1).purged_at is not None
    assert (await yard.purge(VersionName("a", 1))).removed_files == 1
    assert yard.has(b"one") == [False]


async def test_a_caller_that_goes_in_the_middle_leaves_no_half_of_it(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    await yard.register("a", b"one")
    yard.delete("a")
    entered, go_on, remove = asyncio.Event(), asyncio.Event(), yard.artifacts.remove

    async def wait(sha256: str) -> bool:
        entered.set()
        await go_on.wait()
        return await remove(sha256)

    monkeypatch.setattr(yard.artifacts, "remove", wait)
    task = asyncio.create_task(yard.purge())
    await entered.wait()
    task.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert yard.has(b"one") == [False]


@pytest.mark.parametrize("dry_run", [True, False])
async def test_of_many_versions_the_first_are_told_and_all_are_counted(yard: Yard, dry_run: bool) -> None:
    for number in range(7):
        version = await yard.register("a", b"%d" % number, tags={str(n): "x" * 4_000 for n in range(200)})
        yard.delete("a", version.number)
    done = await yard.purge(dry_run=dry_run)
    assert model_ids(done.versions) == ["a@1", "a@2", "a@3"], "as many as fit into a message"
    assert (done.version_count, done.removed_files) == (7, 7)
    assert yard.has(b"6") == [dry_run]
