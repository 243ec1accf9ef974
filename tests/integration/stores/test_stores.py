"""What holds for each place where model files can be kept: by content, whole or not there, verified when read."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from controlplane.registry.files.artifacts import ArtifactStore
from modelyard.errors import DataLossError, InvalidArgumentError, NotFoundError
from tests.integration.stores.conftest import ALL, REMOTE, Place

# More than two blocks of a remote read, and two parts of an S3 upload.
CONTENT = bytes(range(251)) * (90 * 1024)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
everywhere = pytest.mark.parametrize("place", ALL, indirect=True)


async def keep(store: ArtifactStore, folder: Path, content: bytes = CONTENT) -> str:
    file = folder / f"{hashlib.sha256(content).hexdigest()}.file"
    file.write_bytes(content)
    return await store.keep(file, file.stem, len(content))


async def read(store: ArtifactStore, sha256: str, offset_bytes: int = 0) -> bytes:
    return b"".join([chunk async for chunk in store.read(sha256, offset_bytes)])


@everywhere
async def test_what_was_kept_is_read_back_and_nothing_else_is_there(
    store: ArtifactStore, place: Place, tmp_path: Path
) -> None:
    uri = await keep(store, tmp_path)
    assert uri.endswith(f"/sha256/{SHA256[:2]}/{SHA256}")
    assert await read(store, SHA256) == CONTENT
    assert await read(store, SHA256, 9_000_001) == CONTENT[9_000_001:]
    assert await read(store, SHA256, len(CONTENT)) == b""
    assert list(place.list_files()) == [place.path_of(SHA256)]


@everywhere
async def test_a_small_and_an_empty_file_are_kept_too(store: ArtifactStore, tmp_path: Path) -> None:
    for content in (b"1", b""):
        await keep(store, tmp_path, content)
        assert await read(store, hashlib.sha256(content).hexdigest()) == content


@everywhere
async def test_what_is_not_there_and_bad_offsets_are_refused(store: ArtifactStore, tmp_path: Path) -> None:
    await keep(store, tmp_path)
    with pytest.raises(NotFoundError, match="no file with sha256 0000"):
        await read(store, "0" * 64)
    for offset in (-1, len(CONTENT) + 1):
        with pytest.raises(InvalidArgumentError, match=f"it has {len(CONTENT)} bytes"):
            await read(store, SHA256, offset)
    assert not await store.has("0" * 64, 1)
    assert not await store.has(SHA256, len(CONTENT) - 1)


@everywhere
async def test_damage_that_keeps_the_size_is_found_and_mended(
    store: ArtifactStore, place: Place, tmp_path: Path
) -> None:
    await keep(store, tmp_path)
    assert await store.verify(SHA256, len(CONTENT))
    place.overwrite(place.path_of(SHA256), b"\1" + CONTENT[1:])
    assert await store.has(SHA256, len(CONTENT))
    assert not await store.verify(SHA256, len(CONTENT))
    got = bytearray()
    with pytest.raises(DataLossError, match="is damaged.*register the same file again"):  # noqa: RUF043
        async for chunk in store.read(SHA256):
            got += chunk
    await keep(store, tmp_path)
    assert await read(store, SHA256) == CONTENT
    assert len(place.list_files()) == 1


@everywhere
async def test_a_file_that_was_cut_short_is_seen_at_once(store: ArtifactStore, place: Place, tmp_path: Path) -> None:
    await keep(store, tmp_path)
    place.overwrite(place.path_of(SHA256), CONTENT[:100])
    assert not await store.has(SHA256, len(CONTENT)), "no cache remembers the old size"
    with pytest.raises(DataLossError):
        await read(store, SHA256)


@everywhere
async def test_callers_at_once_keep_one_file(store: ArtifactStore, place: Place, tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(4)]
    for folder in folders:
        folder.mkdir()
    assert len(set(await asyncio.gather(*(keep(store, folder) for folder in folders)))) == 1
    assert list(place.list_files()) == [place.path_of(SHA256)]
    assert await read(store, SHA256) == CONTENT


@everywhere
async def test_files_are_listed_and_removed(store: ArtifactStore, place: Place, tmp_path: Path) -> None:
    others = {hashlib.sha256(content).hexdigest(): len(content) for content in (b"1", b"22", b"333")}
    for content in (b"1", b"22", b"333"):
        await keep(store, tmp_path, content)
    listed = [file async for files in store.list_files() for file in files]
    assert {file.sha256: file.size_bytes for file in listed} == others
    first = next(iter(others))
    assert await store.remove(first)
    assert not await store.remove(first)
    assert not await store.has(first, others[first])
    assert len(place.list_files()) == 2


@everywhere
async def test_a_local_copy_is_whole(store: ArtifactStore, place: Place, tmp_path: Path) -> None:
    await keep(store, tmp_path)
    async with store.local_copy(SHA256) as file:
        assert file.read_bytes() == CONTENT
    assert len(place.list_files()) == 1
    assert not any(path.is_file() for path in (tmp_path / "spool").rglob("*"))


@pytest.mark.parametrize("place", REMOTE, indirect=True)
async def test_another_controller_on_the_same_store_sees_what_was_kept(
    store: ArtifactStore, place: Place, tmp_path: Path
) -> None:
    other = ArtifactStore(place.url, spool=tmp_path / "other")
    await other.prepare()
    assert not await other.has(SHA256, len(CONTENT))
    await keep(store, tmp_path)
    assert await read(other, SHA256) == CONTENT
    await store.remove(SHA256)
    assert not await other.has(SHA256, len(CONTENT))
