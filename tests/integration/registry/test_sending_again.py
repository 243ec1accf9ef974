"""`modelyard register` with what is there of its file: on its way still, or damaged in the store."""

import asyncio
from pathlib import Path

from modelyard.v1 import registry_pb2 as pb
from tests.harness.onnx_pieces import linear_bytes
from tests.integration.registry.conftest import Yard, messages
from tests.integration.registry.test_refused_early import run_register

GOOD = linear_bytes()


async def test_the_command_goes_on_from_a_stream_whose_cut_was_not_noticed_yet(yard: Yard, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(GOOD)
    header, chunk = messages("resnet", GOOD)
    cut = yard.stub.CreateVersion()
    await cut.write(header)
    await cut.write(pb.CreateVersionRequest(chunk=chunk.chunk[: len(GOOD) // 2]))
    async with asyncio.timeout(20):
        while yard.incoming_sizes() != [len(GOOD) // 2]:
            await asyncio.sleep(0.01)
    command = asyncio.create_task(run_register(yard, "resnet", path))
    await asyncio.wait({command}, timeout=3)  # it has asked by then
    cut.cancel()
    status, printed, said = await command
    assert (status, printed) == (0, "resnet@1\n") and " % has arrived before: the rest is sent" in said


async def test_the_command_mends_a_stored_file_that_is_damaged(yard: Yard, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(GOOD)
    version = await yard.register("resnet", GOOD)
    stored = Path(version.uri.removeprefix("file://"))
    stored.chmod(0o600)  # noqa: ASYNC240
    stored.write_bytes(b"!" * len(GOOD))  # noqa: ASYNC240
    status, printed, said = await run_register(yard, "other", path)
    assert (status, printed) == (0, "other@1\n") and "trying again" in said
    assert stored.read_bytes() == GOOD == await yard.read(version.sha256)  # noqa: ASYNC240
