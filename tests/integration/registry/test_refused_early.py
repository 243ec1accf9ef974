"""What the header alone tells is refused before the file is sent, and the command line prints the refusal alone."""

import asyncio
import hashlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from modelyard.v1 import registry_pb2 as pb
from tests.integration.registry.conftest import MAX_MODEL_BYTES, Yard, messages, serve

# Far more than gRPC sends ahead of an answer.
CONTENT = os.urandom(24 << 20)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
KNOWN = "resnet@1 has exactly these bytes already; use it as it is"


async def run_register(yard: Yard, name: str, path: Path) -> tuple[int | None, str, str]:
    """The exit status, standard output and standard error of `modelyard register`."""
    arguments = ("-m", "modelyard.cli", "register", name, str(path), "--controller", f"127.0.0.1:{yard.port}")
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


async def answer_to_header(yard: Yard, model: str, **header: Any) -> tuple[grpc.StatusCode, str]:
    """What is answered while the caller waits, with the stream open, before it sends the file."""
    is_answered = threading.Event()

    def header_alone() -> Iterator[pb.CreateVersionRequest]:
        yield next(messages(model, CONTENT, **header))
        is_answered.wait(60)

    try:
        return await yard.refused(header_alone())
    finally:
        is_answered.set()


async def test_the_header_is_answered_at_once(yard: Yard) -> None:
    await yard.put("resnet", CONTENT)
    assert await answer_to_header(yard, "resnet") == (grpc.StatusCode.ALREADY_EXISTS, KNOWN)
    for header in ({"parent": "models/../x"}, {"sha256": "x"}, {"size_bytes": 0}, {"tags": {"": "x"}}):
        assert (await answer_to_header(yard, "bert", **header))[0] is grpc.StatusCode.INVALID_ARGUMENT
    code, _ = await answer_to_header(yard, "bert", size_bytes=MAX_MODEL_BYTES + 1)
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(yard.stored_files()) == 1


async def test_the_command_line_prints_the_refusal_alone(yard: Yard, tmp_path: Path) -> None:
    await yard.put("resnet", CONTENT)
    path = tmp_path / "model.onnx"
    path.write_bytes(CONTENT)
    for _ in range(3):
        status, printed, said = await run_register(yard, "resnet", path)
        assert (status, printed) == (1, "")
        assert said.splitlines()[-1] == f"modelyard: {KNOWN}"


async def test_an_upload_that_stalls_is_ended_and_leaves_nothing(tmp_path: Path) -> None:
    async for yard in serve(tmp_path / "controller", stalled_upload_s=5.0):
        call = yard.stub.CreateVersion()
        await call.write(next(messages("resnet", CONTENT)))
        await call.write(pb.CreateVersionRequest(chunk=CONTENT[:1000]))
        with pytest.raises(aio.AioRpcError, match="is its sender still there") as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert not yard.registry.store.list_models(1, "").items
        found = await yard.stub.FindUpload(pb.FindUploadRequest(size_bytes=len(CONTENT), sha256=SHA256))
        assert (found.offset_bytes, found.is_stored) == (1000, False)  # the next try goes on from there
        assert (await yard.put("resnet", CONTENT)).facts.sha256 == SHA256


async def test_an_upload_that_goes_on_is_not_ended(tmp_path: Path) -> None:
    async for yard in serve(tmp_path / "controller", stalled_upload_s=5.0):
        call = yard.stub.CreateVersion()
        for request in messages("resnet", CONTENT[:10], chunk_bytes=1):
            await call.write(request)
            await asyncio.sleep(0.6)
        await call.done_writing()
        with pytest.raises(aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT  # it was looked at: it is no model
