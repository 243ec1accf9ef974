"""Registering a file over the wire: all or nothing."""

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import onnx
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from modelyard.v1 import registry_pb2 as pb
from modelyard.v1 import resources_pb2
from tests.harness.onnx_pieces import linear_bytes
from tests.integration.registry.conftest import MAX_MODEL_BYTES, Yard, messages, serve

GOOD, OTHER = linear_bytes(), linear_bytes(seed=1)
FILE_AND_SAMPLE = 2


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_model_file_becomes_a_version(yard: Yard) -> None:
    version = await yard.register(
        "resnet", GOOD, description="first", user="ann", metrics={"top1": 0.5}, parameters={"lr": "1"}, tags={"a": "b"}
    )
    sha256 = hashlib.sha256(GOOD).hexdigest()
    assert (version.model_id, version.name, version.number) == ("resnet@1", "models/resnet/versions/1", 1)
    assert (version.format, version.size_bytes, version.sha256) == (resources_pb2.MODEL_FORMAT_ONNX, len(GOOD), sha256)
    assert list(version.signature.inputs) == [resources_pb2.TensorSpec(name="x", datatype="FP32", shape=[-1, 3])]
    assert list(version.signature.outputs) == [resources_pb2.TensorSpec(name="y", datatype="FP32", shape=[-1, 2])]
    assert (version.description, version.user) == ("first", "ann")
    assert (dict(version.metrics), dict(version.parameters), dict(version.tags)) == (
        {"top1": 0.5},
        {"lr": "1"},
        {"a": "b"},
    )
    assert version.create_time.seconds > 0
    path = Path(version.uri.removeprefix("file://"))
    assert path.read_bytes() == GOOD  # noqa: ASYNC240
    found = await yard.stub.GetVersion(pb.GetVersionRequest(name=version.name))
    assert found.version == version
    assert await yard.read(sha256) == GOOD


async def test_it_is_recorded_in_the_lineage_store(yard: Yard) -> None:
    await yard.register("resnet", GOOD)
    await until(lambda: yard.registry.store.list_facts(True, 0, 1))


@pytest.mark.parametrize("chunk_bytes", [1, 7, len(GOOD)])
async def test_chunks_may_have_any_size(yard: Yard, chunk_bytes: int) -> None:
    response = await yard.stub.CreateVersion(messages("resnet", GOOD, chunk_bytes))
    assert response.version.model_id == "resnet@1"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (GOOD[:-5], "cut off"),
        (GOOD[:40], "cut off"),
        (b"%PDF-1.7 what a model", "PDF"),
        (b"\x80\x04\x95\x10\x00", "torch.onnx.export"),
        (b"#!/bin/sh\nrm -rf /\n", "text"),
    ],
)
async def test_a_file_that_is_no_whole_model_leaves_nothing(yard: Yard, content: bytes, told: str) -> None:
    code, details = await yard.refused(messages("resnet", content))
    assert (code, told in details) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    assert yard.is_untouched()


@pytest.mark.parametrize("parent", ["models/../etc", "models/a/b", "../x", "", "models/", "models/a@1", "models/a b"])
async def test_a_name_that_is_none_is_refused(yard: Yard, parent: str) -> None:
    code, details = await yard.refused(messages("x", GOOD, parent=parent))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "name" in details
    assert yard.is_untouched()


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"sha256": "0" * 64}, grpc.StatusCode.DATA_LOSS),
        ({"sha256": "../../etc/passwd"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"size_bytes": len(GOOD) - 1}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"size_bytes": 0}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"size_bytes": MAX_MODEL_BYTES + 1}, grpc.StatusCode.RESOURCE_EXHAUSTED),
        ({"metrics": {"loss": float("nan")}}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"tags": {"": "x"}}, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_an_announcement_that_does_not_hold_leaves_nothing(
    yard: Yard, header: dict[str, Any], code: grpc.StatusCode
) -> None:
    assert (await yard.refused(messages("resnet", GOOD, **header)))[0] == code
    assert yard.is_untouched()


async def test_capital_digits_of_a_sha256_are_taken(yard: Yard) -> None:
    assert (await yard.register("resnet", GOOD, sha256=hashlib.sha256(GOOD).hexdigest().upper())).number == 1


async def test_messages_come_in_their_order(yard: Yard) -> None:
    header, *chunks = messages("resnet", GOOD)
    for requests in ([], [*chunks], [header, header], [header, pb.CreateVersionRequest()]):
        code, _ = await yard.refused(requests)
        assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert yard.is_untouched()


async def begin(yard: Yard, stub: Any, content: bytes, sent: int) -> Any:
    """A call that has sent `sent` bytes, which have arrived."""
    header, chunk = messages("resnet", content)
    call = stub.CreateVersion()
    await call.write(header)
    await call.write(pb.CreateVersionRequest(chunk=chunk.chunk[:sent]))
    await until(lambda: sent in yard.incoming_sizes())
    return call


async def kept_bytes(yard: Yard, content: bytes) -> int:
    request = pb.FindUploadRequest(size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    return int((await yard.stub.FindUpload(request)).offset_bytes)


async def until_kept(yard: Yard, content: bytes, size_bytes: int) -> None:
    async with asyncio.timeout(60):
        while await kept_bytes(yard, content) != size_bytes:
            await asyncio.sleep(0.01)


async def test_an_upload_that_is_cut_off_is_kept_for_the_next_try(yard: Yard) -> None:
    (await begin(yard, yard.stub, GOOD, 50)).cancel()
    await until_kept(yard, GOOD, 50)
    assert not yard.registry.store.list_models(1, "").items
    header, chunk = messages("resnet", GOOD, offset_bytes=50)
    rest = pb.CreateVersionRequest(chunk=chunk.chunk[50:])
    version = (await yard.stub.CreateVersion(iter([header, rest]))).version
    assert (version.number, await yard.read(version.sha256)) == (1, GOOD)
    assert len(yard.stored_files()) == FILE_AND_SAMPLE


async def test_who_knows_nothing_of_a_cut_sends_the_whole_file(yard: Yard) -> None:
    (await begin(yard, yard.stub, GOOD, 50)).cancel()
    await until_kept(yard, GOOD, 50)
    assert (await yard.register("resnet", GOOD)).number == 1
    assert len(yard.stored_files()) == FILE_AND_SAMPLE


async def test_a_second_version_that_is_cut_off_leaves_the_first_alone(yard: Yard) -> None:
    assert (await yard.register("resnet", GOOD)).number == 1
    (await begin(yard, yard.stub, OTHER, 50)).cancel()
    await until_kept(yard, OTHER, 50)
    assert await yard.read(hashlib.sha256(GOOD).hexdigest()) == GOOD
    assert (await yard.register("resnet", OTHER)).number == 2


async def test_what_a_client_that_dies_has_sent_is_kept(yard: Yard) -> None:
    async with aio.insecure_channel(f"127.0.0.1:{yard.port}") as channel:
        await begin(yard, type(yard.stub)(channel), GOOD, 50)
    await until_kept(yard, GOOD, 50)
    assert not yard.registry.store.list_models(1, "").items


async def test_the_same_bytes_again_are_refused_by_model_id(yard: Yard) -> None:
    await yard.register("resnet", GOOD)
    code, details = await yard.refused(messages("resnet", GOOD))
    assert code == grpc.StatusCode.ALREADY_EXISTS
    assert "resnet@1" in details
    assert len(yard.stored_files()) == FILE_AND_SAMPLE


async def test_models_with_the_same_bytes_share_the_file(yard: Yard) -> None:
    first, second = await yard.register("a", GOOD), await yard.register("b", GOOD)
    assert (first.uri, first.sample) == (second.uri, second.sample)
    assert len(yard.stored_files()) == FILE_AND_SAMPLE


async def test_the_same_bytes_at_once_become_one_version(yard: Yard) -> None:
    with ThreadPoolExecutor(4) as pool:
        calls = [asyncio.wrap_future(pool.submit(yard.send, messages("resnet", GOOD))) for _ in range(4)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    made = [outcome for outcome in outcomes if isinstance(outcome, resources_pb2.Version)]
    assert [version.model_id for version in made] == ["resnet@1"]
    refused = [outcome.code() for outcome in outcomes if isinstance(outcome, grpc.RpcError)]
    assert refused == [grpc.StatusCode.ALREADY_EXISTS] * 3
    assert len(yard.stored_files()) == FILE_AND_SAMPLE


async def test_different_bytes_at_once_get_dense_numbers(yard: Yard) -> None:
    made = await asyncio.gather(*(yard.register("resnet", linear_bytes(seed=seed)) for seed in range(6)))
    assert sorted(version.number for version in made) == [1, 2, 3, 4, 5, 6]
    assert len({version.sample.sha256 for version in made}) == 1  # they have one signature
    assert len(yard.stored_files()) == 6 + 1
    for version in made:
        assert hashlib.sha256(await yard.read(version.sha256)).hexdigest() == version.sha256


async def test_a_crash_between_file_and_row_is_healed_by_registering_again(tmp_path: Path) -> None:
    folder = tmp_path / "controller"
    async for yard in serve(folder):
        kept = tmp_path / "kept"
        kept.write_bytes(GOOD)
        await yard.registry.artifacts.keep(kept, hashlib.sha256(GOOD).hexdigest(), len(GOOD))
        (folder / "artifacts" / "incoming" / "of-an-earlier-life").write_bytes(b"half")
    async for yard in serve(folder):
        assert len(yard.stored_files()) == 1
        assert (await yard.register("resnet", GOOD)).number == 1
        assert len(yard.stored_files()) == FILE_AND_SAMPLE


async def test_what_was_registered_is_there_after_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "controller"
    async for yard in serve(folder):
        before = await yard.register("resnet", GOOD)
    async for yard in serve(folder):
        found = await yard.stub.GetVersion(pb.GetVersionRequest(name="models/resnet/versions/1"))
        assert found.version == before
        assert await yard.read(before.sha256) == GOOD


async def test_a_stream_that_ends_too_early_makes_no_version(yard: Yard) -> None:
    code, details = await yard.refused(messages("resnet", GOOD, size_bytes=len(GOOD) + 1))
    assert (code, "were announced" in details) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    assert not yard.registry.store.list_models(1, "").items


@pytest.mark.parametrize(
    "header",
    [
        {"metrics": {f"m{number}": 1.0 for number in range(201)}},
        {"origin": resources_pb2.Origin(model_id="a@1", create_time=Timestamp(seconds=2**62))},
        {"description": "\x1b]0;title\x07"},
    ],
)
async def test_what_no_record_takes_is_refused(yard: Yard, header: dict[str, Any]) -> None:
    assert (await yard.refused(messages("resnet", GOOD, **header)))[0] == grpc.StatusCode.INVALID_ARGUMENT
    assert yard.is_untouched()


async def test_a_known_content_of_another_size_is_refused(yard: Yard) -> None:
    await yard.register("resnet", GOOD)
    code, details = await yard.refused(messages("vgg", GOOD, size_bytes=len(GOOD) + 1))
    assert (code, "and 126 were announced" in details) == (grpc.StatusCode.INVALID_ARGUMENT, True), details


async def test_a_signature_that_no_listing_could_carry_is_refused(yard: Yard, tmp_path: Path) -> None:
    model = onnx.load_from_string(GOOD)
    name = "x" * 1001
    model.graph.input[0].name = name
    for node in model.graph.node:
        node.input[:] = [name if one == "x" else one for one in node.input]
    code, details = await yard.refused(messages("resnet", model.SerializeToString()))
    assert (code, "shorter one" in details) == (grpc.StatusCode.INVALID_ARGUMENT, True), details
    assert yard.is_untouched()
