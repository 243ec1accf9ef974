"""The registry over the wire: reading, aliases, files."""

import grpc
import pytest
from grpc import aio

from modelyard.v1 import registry_pb2 as pb
from tests.integration.registry.conftest import Yard

NOT_FOUND, INVALID = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(autouse=True)
async def two_versions(yard: Yard) -> None:
    for seed in (1, 2):
        await yard.put("resnet", b"model %d" % seed)


async def refused(call: object) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(aio.AioRpcError) as caught:
        await call  # type: ignore[misc]
    return caught.value.code(), caught.value.details() or ""


async def test_models_and_versions_are_listed_in_pages(yard: Yard) -> None:
    await yard.put("bert", b"model")
    first = await yard.stub.ListModels(pb.ListModelsRequest(page_size=1))
    second = await yard.stub.ListModels(pb.ListModelsRequest(page_size=1, page_token=first.next_page_token))
    assert [first.models[0].name, second.models[0].name] == ["models/bert", "models/resnet"]
    assert (second.models[0].latest_version, second.next_page_token) == (2, "")
    versions = await yard.stub.ListVersions(pb.ListVersionsRequest(parent="models/resnet", page_size=100_000))
    assert [version.model_id for version in versions.versions] == ["resnet@2", "resnet@1"]


async def test_an_alias_is_set_moved_and_deleted(yard: Yard) -> None:
    name = "models/resnet/aliases/production"
    for version in (1, 2):
        request = pb.SetAliasRequest(name=name, version=version, user="ann", reason="better")
        alias = (await yard.stub.SetAlias(request)).alias
        assert (alias.name, alias.model, alias.alias, alias.version) == (name, "resnet", "production", version)
    model = (await yard.stub.GetModel(pb.GetModelRequest(name="models/resnet"))).model
    assert list(model.aliases) == [alias]
    assert (alias.user, alias.reason) == ("ann", "better")
    await yard.stub.DeleteAlias(pb.DeleteAliasRequest(name=name, user="ann"))
    assert not (await yard.stub.GetModel(pb.GetModelRequest(name="models/resnet"))).model.aliases
    assert yard.changes == 3


async def test_what_is_not_there_is_not_found(yard: Yard) -> None:
    code, details = await refused(yard.stub.GetModel(pb.GetModelRequest(name="models/resnt")))
    assert (code, "did you mean resnet?" in details) == (NOT_FOUND, True)
    code, details = await refused(yard.stub.GetVersion(pb.GetVersionRequest(name="models/resnet/versions/7")))
    assert (code, "versions 1 to 2" in details) == (NOT_FOUND, True)
    request = pb.SetAliasRequest(name="models/resnet/aliases/eu", version=3)
    assert (await refused(yard.stub.SetAlias(request)))[0] == NOT_FOUND
    assert (await refused(yard.stub.DeleteAlias(pb.DeleteAliasRequest(name="models/resnet/aliases/eu"))))[
        0
    ] == NOT_FOUND
    assert yard.changes == 0


async def test_bad_requests_are_refused(yard: Yard) -> None:
    production = "models/resnet/aliases/production"
    calls = [
        yard.stub.GetModel(pb.GetModelRequest(name="resnet")),
        yard.stub.GetModel(pb.GetModelRequest(name="models/../x")),
        yard.stub.GetVersion(pb.GetVersionRequest(name="models/resnet/versions/0")),
        yard.stub.GetVersion(pb.GetVersionRequest(name=f"models/resnet/versions/{2**64}")),
        yard.stub.ListModels(pb.ListModelsRequest(page_size=-1)),
        yard.stub.ListModels(pb.ListModelsRequest(page_token="nonsense")),
        yard.stub.ListVersions(pb.ListVersionsRequest(parent="")),
        yard.stub.SetAlias(pb.SetAliasRequest(name="models/resnet/aliases/3", version=1)),
        yard.stub.SetAlias(pb.SetAliasRequest(name=production, version=0)),
        yard.stub.SetAlias(pb.SetAliasRequest(name=production, version=-(2**63))),
        yard.stub.SetAlias(pb.SetAliasRequest(name=production, version=1, reason="x" * 3000)),
        yard.stub.SetAlias(pb.SetAliasRequest(name=production, version=1, user="\0")),
        yard.stub.SetAlias(pb.SetAliasRequest(name=production, version=1, expected_version=-1)),
        yard.stub.RollbackAlias(pb.RollbackAliasRequest(name=production, expected_version=-1)),
        yard.stub.DeleteAlias(pb.DeleteAliasRequest(name=production, expected_version=-1)),
        yard.stub.ListVersionChanges(pb.ListVersionChangesRequest(name="models/resnet/versions/1", page_size=-1)),
        yard.stub.PurgeVersions(pb.PurgeVersionsRequest(min_age_s=-1)),
        yard.stub.PurgeVersions(pb.PurgeVersionsRequest(min_age_s=2**62)),
    ]
    for call in calls:
        assert (await refused(call))[0] == INVALID


async def test_a_version_number_that_no_database_holds_is_not_found(yard: Yard) -> None:
    code, _ = await refused(yard.stub.GetVersion(pb.GetVersionRequest(name=f"models/resnet/versions/{2**63 - 1}")))
    assert code == NOT_FOUND


async def test_a_large_file_is_read_in_chunks_and_from_an_offset(yard: Yard) -> None:
    content = bytes(range(251)) * 8000
    sha256 = (await yard.put("large", content)).facts.sha256
    request = pb.ReadArtifactRequest(sha256=sha256)
    sizes = [len(response.chunk) async for response in yard.stub.ReadArtifact(request)]
    assert (max(sizes), sum(sizes)) == (1 << 20, len(content))
    assert await yard.read(sha256) == content
    assert await yard.read(sha256, offset_bytes=1_234_567) == content[1_234_567:]
    assert await yard.read(sha256, offset_bytes=len(content)) == b""


@pytest.mark.parametrize(
    ("sha256", "offset_bytes", "code"),
    [("0" * 64, 0, NOT_FOUND), ("../../../etc/passwd", 0, INVALID), ("", 0, INVALID)],
)
async def test_a_file_that_is_not_there_is_refused(
    yard: Yard, sha256: str, offset_bytes: int, code: grpc.StatusCode
) -> None:
    assert (await refused(yard.read(sha256, offset_bytes)))[0] == code


async def test_an_offset_outside_the_file_is_refused(yard: Yard) -> None:
    sha256 = yard.registry.store.get_version("resnet", 1).facts.sha256
    for offset in (-1, 10_000):
        assert (await refused(yard.read(sha256, offset)))[0] == INVALID
