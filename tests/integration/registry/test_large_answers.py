"""Answers about versions whose records are as large as they may be: each fits into a message that any client takes."""

from dataclasses import replace

from controlplane.domain import Author, VersionEdit
from modelyard.v1 import registry_pb2 as pb
from tests.integration.registry.conftest import Yard, now

# What gRPC lets a client receive that does not ask for more.
DEFAULT_LIMIT_BYTES = 4 << 20
NAME = "models/resnet/versions/1"


def make_entries(beginning: str = "") -> dict[str, str]:
    return {f"key-{number}": (beginning + "x" * 2_000)[:2_000] for number in range(200)}


async def fill(yard: Yard, count: int) -> None:
    facts = (await yard.put("resnet", b"model 0")).facts
    store = yard.registry.store
    for number in range(1, count):
        large = replace(facts, sha256=f"{number:064}", tags=make_entries(), parameters=make_entries())
        store.create_version(large, now())


async def test_large_versions_come_in_pages_that_fit(yard: Yard) -> None:
    await fill(yard, 13)
    request, numbers = pb.ListVersionsRequest(parent="models/-", page_size=1000), []
    while True:
        page = await yard.stub.ListVersions(request)
        assert page.ByteSize() < DEFAULT_LIMIT_BYTES
        numbers += [version.number for version in page.versions]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert numbers == list(range(13, 0, -1))


async def test_large_changes_come_in_pages_that_fit(yard: Yard) -> None:
    await fill(yard, 1)
    for number in range(12):
        edit = VersionEdit(set_tags=make_entries(str(number)))
        yard.registry.store.edit_version("resnet", 1, edit, Author(now()), None)
    request, revisions = pb.ListVersionChangesRequest(name=NAME), []
    while True:
        page = await yard.stub.ListVersionChanges(request)
        assert page.ByteSize() < DEFAULT_LIMIT_BYTES
        revisions += [change.revision for change in page.changes]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert revisions == list(range(1, 13))


async def test_a_purge_of_large_versions_tells_of_the_first(yard: Yard) -> None:
    await fill(yard, 13)
    for number in range(1, 14):
        yard.registry.store.delete_version("resnet", number, Author(now()))
    answer = await yard.stub.PurgeVersions(pb.PurgeVersionsRequest(dry_run=True))
    assert answer.ByteSize() < DEFAULT_LIMIT_BYTES
    assert answer.version_count == 13
    assert [version.number for version in answer.versions] == [1, 2, 3, 4]
