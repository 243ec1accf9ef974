"""What the controller keeps on the disk: nobody else's to read, and rid of what a kill left half-done."""

import asyncio
import hashlib
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path

from modelyard.v1 import registry_pb2
from tests.integration.controller.yard import ControllerUnderTest, Stubs, eventually


def count_rows(path: Path, table: str) -> int:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    except sqlite3.OperationalError:  # it has just been made
        return 0
    finally:
        connection.close()


async def until_recorded(data: Path, versions: int) -> None:
    async def is_recorded() -> bool:
        path = data / "lineage.db"
        return path.exists() and await asyncio.to_thread(count_rows, path, "Artifact") == versions

    await eventually(is_recorded)


async def test_files_are_readable_by_nobody_else(yard: Stubs, tmp_path: Path) -> None:
    await yard.register()
    await until_recorded(tmp_path / "data", 1)
    found: dict[Path, int] = {}
    for path in (tmp_path / "data").rglob("*"):
        with suppress(FileNotFoundError):  # the databases' journals come and go
            found[path] = path.stat().st_mode
    assert {"yard.db", "lineage.db", "sha256", "incoming"} <= {path.name for path in found}
    assert {path: oct(mode) for path, mode in found.items() if mode & (stat.S_IRWXG | stat.S_IRWXO)} == {}


async def test_an_upload_cut_off_by_kill_9_goes_on_after_the_next_start(
    controller: ControllerUnderTest, tmp_path: Path
) -> None:
    incoming = tmp_path / "data" / "artifacts" / "incoming"
    content = bytes(3 << 20)
    sha256 = hashlib.sha256(content).hexdigest()

    async def has_arrived() -> bool:
        return any(path.stat().st_size == 2 << 20 for path in incoming.iterdir())

    async with controller.connect() as yard:
        header = registry_pb2.CreateVersionRequest.Header(parent="models/m", size_bytes=len(content), sha256=sha256)
        call = yard.registry.CreateVersion()
        await call.write(registry_pb2.CreateVersionRequest(header=header))
        await call.write(registry_pb2.CreateVersionRequest(chunk=content[: 2 << 20]))
        await eventually(has_arrived)
        controller.program.kill()
    await controller.restart()
    async with controller.connect() as yard:
        found = await yard.registry.FindUpload(registry_pb2.FindUploadRequest(size_bytes=len(content), sha256=sha256))
        assert (found.offset_bytes, found.is_stored) == (2 << 20, False)
        assert await yard.register("m") == 1


async def test_a_lineage_database_that_was_deleted_is_filled_again(
    controller: ControllerUnderTest, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    async with controller.connect() as yard:
        for factor in (1.0, 2.0):
            await yard.register(factor=factor)
        await until_recorded(data, 2)
        controller.program.kill()
    (data / "lineage.db").unlink()
    await controller.restart()
    await until_recorded(data, 2)
