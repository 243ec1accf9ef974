"""What arrived of an upload that was cut off is kept, for a day and while there is room, and gone on with."""

import asyncio
import errno
import hashlib
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from controlplane.registry.files import incoming as incoming_module
from controlplane.registry.files.incoming import KEPT_S, Incoming
from controlplane.registry.files.upload import Upload
from modelyard.errors import AbortedError, DataLossError, DeadlineExceededError, ResourceExhaustedError

CONTENT = os.urandom(3 << 20)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def incoming(tmp_path: Path) -> Incoming:
    made = Incoming(tmp_path / "incoming")
    made.prepare()
    return made


def begin(incoming: Incoming, offset_bytes: int = 0, content: bytes = CONTENT) -> Upload:
    return Upload(incoming, len(content), hashlib.sha256(content).hexdigest(), offset_bytes)


async def cut_off(incoming: Incoming, part: bytes, content: bytes = CONTENT, offset_bytes: int = 0) -> None:
    with pytest.raises(DeadlineExceededError):
        async with begin(incoming, offset_bytes, content) as upload:
            await upload.write(part)
            raise DeadlineExceededError("stalled")


def files(incoming: Incoming) -> list[Path]:
    return list(incoming.folder.iterdir())


async def test_the_next_try_goes_on_and_the_whole_is_checked(incoming: Incoming) -> None:
    assert incoming.find(SHA256, len(CONTENT)) == 0
    await cut_off(incoming, CONTENT[:1_500_000])
    assert incoming.find(SHA256, len(CONTENT)) == 1_500_000
    await cut_off(incoming, CONTENT[1_500_000:2_000_000], offset_bytes=1_500_000)
    assert incoming.find(SHA256, len(CONTENT)) == 2_000_000
    async with begin(incoming, 2_000_000) as upload:
        await upload.write(CONTENT[2_000_000:])
        await upload.finish(len(CONTENT), SHA256)
        assert upload.path.read_bytes() == CONTENT
    assert files(incoming) == []


async def test_a_cancelled_caller_counts_as_cut_off(incoming: Incoming) -> None:
    written = asyncio.Event()

    async def hang() -> None:
        async with begin(incoming) as upload:
            await upload.write(CONTENT[:1000])
            written.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await written.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert incoming.find(SHA256, len(CONTENT)) == 1000


async def test_what_a_killed_controller_left_is_gone_on_with(incoming: Incoming) -> None:
    upload = begin(incoming)
    await upload.__aenter__()
    await upload.write(CONTENT[: 1 << 20])  # and no end of the block
    after = Incoming(incoming.folder)
    after.prepare()
    assert after.find(SHA256, len(CONTENT)) == 1 << 20
    async with begin(after, 1 << 20) as rest:
        await rest.write(CONTENT[1 << 20 :])
        await rest.finish(len(CONTENT), SHA256)


async def test_going_on_from_less_than_is_kept_drops_the_rest(incoming: Incoming) -> None:
    await cut_off(incoming, b"x" * 1000)
    async with begin(incoming) as upload:
        await upload.write(CONTENT)
        await upload.finish(len(CONTENT), SHA256)


async def test_going_on_from_more_than_is_kept_is_refused_and_the_kept_stays(incoming: Incoming) -> None:
    await cut_off(incoming, CONTENT[:1000])
    with pytest.raises(AbortedError, match="1000 bytes of this file are kept here, and it was to go on after 1001"):
        async with begin(incoming, 1001):
            pass
    assert incoming.find(SHA256, len(CONTENT)) == 1000


async def test_kept_bytes_that_are_wrong_are_found_out_and_thrown_away(incoming: Incoming) -> None:
    await cut_off(incoming, b"x" * 1000)
    with pytest.raises(DataLossError, match="register it again"):
        async with begin(incoming, 1000) as upload:
            await upload.write(CONTENT[1000:])
            await upload.finish(len(CONTENT), SHA256)
    assert files(incoming) == []


async def test_two_uploads_of_one_file_never_share_what_is_kept(incoming: Incoming) -> None:
    await cut_off(incoming, CONTENT[:1000])
    async with begin(incoming, 1000) as first:
        assert incoming.find(SHA256, len(CONTENT)) == 0
        async with begin(incoming) as second:
            assert first.path != second.path
            for upload, rest in ((first, CONTENT[1000:]), (second, CONTENT)):
                await upload.write(rest)
                await upload.finish(len(CONTENT), SHA256)


async def test_another_size_or_content_is_another_file(incoming: Incoming) -> None:
    await cut_off(incoming, CONTENT[:1000])
    assert incoming.find(SHA256, len(CONTENT) + 1) == 0
    assert incoming.find("0" * 64, len(CONTENT)) == 0


def make_old(incoming: Incoming, age_s: float) -> None:
    for path in files(incoming):
        os.utime(path, times=(time.time() - age_s,) * 2)


@pytest.mark.parametrize(("age_s", "is_kept"), [(KEPT_S - 60, True), (KEPT_S + 60, False), (-KEPT_S - 60, False)])
async def test_it_is_kept_for_a_day(incoming: Incoming, age_s: float, is_kept: bool) -> None:
    await cut_off(incoming, CONTENT[:1000])
    make_old(incoming, age_s)
    Incoming(incoming.folder).prepare()
    assert bool(files(incoming)) == is_kept


async def test_only_so_many_are_kept(incoming: Incoming, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming_module, "MOST_KEPT", 2)
    for number in range(4):
        make_old(incoming, 100.0 - number)
        await cut_off(incoming, b"x" * 10, content=bytes([number]) * 20)
    incoming.sweep()
    assert len(files(incoming)) == 2
    assert incoming.find(hashlib.sha256(bytes([3]) * 20).hexdigest(), 20) == 10


async def test_what_is_kept_makes_room_the_oldest_first(incoming: Incoming, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = [bytes([number]) * 1000 for number in range(3)]
    for number, content in enumerate(contents):
        await cut_off(incoming, content[:400], content=content)
        for path in files(incoming):
            os.utime(path, times=(path.stat().st_mtime - 100 * (3 - number),) * 2)

    def disk_usage(_: object) -> object:
        used = sum(path.stat().st_size for path in files(incoming))
        return SimpleNamespace(free=(64 << 20) + 1500 - used)

    monkeypatch.setattr("controlplane.registry.files.disk_room.shutil.disk_usage", disk_usage)
    async with begin(incoming, content=b"n" * 600) as upload:  # 300 are free
        await upload.write(b"n" * 600)
        found = [incoming.find(hashlib.sha256(content).hexdigest(), 1000) for content in contents]
        assert found == [0, 400, 400]
    with pytest.raises(ResourceExhaustedError, match="has room for 1500"):
        async with begin(incoming, content=b"n" * 1501):
            pass
    assert files(incoming) == []


async def test_a_try_that_finds_no_room_keeps_what_had_arrived_until_somebody_needs_it(
    incoming: Incoming, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cut_off(incoming, CONTENT[:-10])
    usage = shutil.disk_usage("/")._replace(free=(64 << 20) + 9)
    monkeypatch.setattr("controlplane.registry.files.disk_room.shutil.disk_usage", lambda _: usage)
    with pytest.raises(ResourceExhaustedError, match="has 10 bytes to come"):
        async with begin(incoming, len(CONTENT) - 10):
            pass
    assert incoming.find(SHA256, len(CONTENT)) == len(CONTENT) - 10
    assert incoming.remove_oldest() and files(incoming) == []


async def test_what_cannot_be_removed_is_no_room(incoming: Incoming, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):
        make_old(incoming, 100.0)
        await cut_off(incoming, b"x" * 10, content=bytes([number]) * 20)
    oldest = min(files(incoming), key=lambda path: path.stat().st_mtime)
    unlink, is_read_only = Path.unlink, False

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if is_read_only or path == oldest:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert incoming.remove_oldest() and files(incoming) == [oldest]  # the next one
    is_read_only = True
    assert not incoming.remove_oldest()  # or whoever needs the room would ask for ever


async def test_what_goes_on_needs_room_for_the_rest_alone(incoming: Incoming, monkeypatch: pytest.MonkeyPatch) -> None:
    await cut_off(incoming, CONTENT[:-10])
    usage = shutil.disk_usage("/")._replace(free=(64 << 20) + 10)
    monkeypatch.setattr("controlplane.registry.files.disk_room.shutil.disk_usage", lambda _: usage)
    async with begin(incoming, len(CONTENT) - 10) as upload:
        await upload.write(CONTENT[-10:])
        await upload.finish(len(CONTENT), SHA256)
