"""A folder as one file that depends on its content alone."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from modelyard import packing
from modelyard.errors import InvalidArgumentError

# Around a tar's blocks of 512 bytes, and more than one chunk.
SIZES = (0, 1, 511, 512, 513, 16384, packing.CHUNK_BYTES + 1)


def make_folder(folder: Path) -> Path:
    for size in SIZES:
        path = folder / "sub" / f"of-{size}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
    (folder / ("n" * 150)).mkdir()
    (folder / ("n" * 150) / "é").write_bytes(b"a long path, not in ASCII")
    return folder


def pack(folder: Path) -> bytes:
    return b"".join(packing.pack(folder, packing.list_files(folder)))


def test_what_is_packed_is_unpacked(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "a")
    packed, again = pack(folder), tmp_path / "b"
    again.mkdir()
    packing.unpack(io.BytesIO(packed), again)
    for file in packing.list_files(folder):
        assert (again / file.path).read_bytes() == (folder / file.path).read_bytes()
    assert pack(again) == packed
    assert len(packed) == packing.packed_size_bytes(packing.list_files(folder))


def test_no_chunk_is_empty(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "a")
    assert all(packing.pack(folder, packing.list_files(folder)))


def test_any_tar_program_can_read_it(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "a")
    with tarfile.open(fileobj=io.BytesIO(pack(folder))) as archive:
        assert archive.getnames() == [file.path for file in packing.list_files(folder)]


def test_times_modes_and_empty_folders_make_no_difference(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "a")
    before = pack(folder)
    (folder / "empty").mkdir()
    os.utime(folder / "sub" / "of-1", (0, 0))
    (folder / "sub" / "of-1").chmod(0o700)
    assert pack(folder) == before


def test_a_file_that_grows_or_shrinks_meanwhile_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "a")
    files = packing.list_files(folder)
    for size in (511, 514):
        (folder / "sub" / "of-513").write_bytes(bytes(size))
        with pytest.raises(InvalidArgumentError, match="was changed while it was read"):
            list(packing.pack(folder, files))


def test_links_and_what_is_no_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(InvalidArgumentError, match="is a link or no plain file"):
        packing.list_files(tmp_path)
    (tmp_path / "link").unlink()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidArgumentError, match="is a link or no plain file"):
        packing.list_files(tmp_path)


@pytest.mark.parametrize("path", ["../x", "/x", "a/../x", "a//b", ".", "", "a\\b", "a\nb", "x" * 300, "\udcff"])
def test_a_path_that_could_lead_out_is_refused(path: str) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot be the path"):
        packing.check_path(path)


@pytest.mark.parametrize("name", ["../out", "/out"])
def test_a_tar_that_leads_out_is_not_unpacked(tmp_path: Path, name: str) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    packed.seek(0)
    (tmp_path / "in").mkdir()
    with pytest.raises(InvalidArgumentError, match="cannot be the path"):
        packing.unpack(packed, tmp_path / "in")
    assert not (tmp_path / "out").exists()
