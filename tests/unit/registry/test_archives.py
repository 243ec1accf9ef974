"""What archives unpack to, and that none reaches beyond its folder or its size."""

import gzip
import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from controlplane.registry.formats import archives
from controlplane.registry.formats.archives import unpack_archive
from modelyard.errors import InvalidArgumentError
from tests.harness.archive_pieces import Files, files_below, odd_entry, tarred, zipped

FILES = {"m/saved_model.pb": b"model", "m/variables/variables.index": b"index" * 1000}
KINDS = ["zip", "tar", "gz", "bz2", "xz"]
MOST_BYTES = 1 << 20


def pack(kind: str, files: Files) -> bytes:
    return zipped(files) if kind == "zip" else tarred(files, "" if kind == "tar" else kind)


def unpack(tmp_path: Path, content: bytes, max_bytes: int = MOST_BYTES) -> dict[str, bytes]:
    """Each time into a new folder of `tmp_path`, beside which nothing may appear."""
    root = tmp_path / str(len(list(tmp_path.iterdir())))
    root.mkdir()
    archive, folder = root / "archive", root / "folder"
    archive.write_bytes(content)
    folder.mkdir()
    try:
        unpack_archive(archive, folder, max_bytes)
    finally:
        assert {path.name for path in root.iterdir()} == {"archive", "folder"}
    return files_below(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_files_come_out_as_they_went_in(tmp_path: Path, kind: str) -> None:
    assert unpack(tmp_path, pack(kind, FILES)) == FILES


def test_other_compressions_within_a_zip_are_read(tmp_path: Path) -> None:
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        assert unpack(tmp_path, zipped(FILES, compression)) == FILES


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", ["../out", "m/../../out", "/out", "m//x", "m/./x", "..\\out", "m\\x", "a\nb", "x" * 256]
)
def test_a_path_that_leads_elsewhere_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot be the path"):
        unpack(tmp_path, pack(kind, {name: b"x"}))
    assert not Path("/out").exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "files",
    [
        [("a", b"1"), ("a", b"2")],
        [("a", b"1"), ("a/b", b"2")],
        [("a/b", b"1"), ("a", b"2")],
        [("a/b/c", b"1"), ("a/b", b"2")],
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_is_there_once(tmp_path: Path, kind: str, files: Files) -> None:
    with pytest.raises(InvalidArgumentError, match="twice"):
        unpack(tmp_path, pack(kind, files))


@pytest.mark.parametrize(
    "odd",
    [
        odd_entry("link", tarfile.SYMTYPE, "/etc/passwd"),
        odd_entry("link", tarfile.LNKTYPE, "m/saved_model.pb"),
        odd_entry("device", tarfile.CHRTYPE),
        odd_entry("pipe", tarfile.FIFOTYPE),
        odd_entry("sparse", tarfile.GNUTYPE_SPARSE),
    ],
)
def test_only_plain_files_are_taken_of_a_tar(tmp_path: Path, odd: tarfile.TarInfo) -> None:
    with pytest.raises(InvalidArgumentError, match="a link or no plain file"):
        unpack(tmp_path, tarred(FILES, odd=[odd]))


def test_only_plain_files_are_taken_of_a_zip(tmp_path: Path) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(InvalidArgumentError, match="a link or no plain file"):
        unpack(tmp_path, target.getvalue())


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    content = bytearray(zipped({"a": b"x"}))
    for tag, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(tag) + offset] |= 1
    with pytest.raises(InvalidArgumentError, match="without a password"):
        unpack(tmp_path, bytes(content))


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_ends_at_the_limit(tmp_path: Path, kind: str) -> None:
    bomb = pack(kind, {"a": bytes(MOST_BYTES // 2), "b": bytes(MOST_BYTES)})
    with pytest.raises(InvalidArgumentError, match="more than 1048576 bytes"):
        unpack(tmp_path, bomb)
    written = [path.stat().st_size for path in tmp_path.rglob("folder/*")]
    assert sum(written) <= MOST_BYTES
    assert len(unpack(tmp_path, bomb, 2 * MOST_BYTES)) == 2


def test_a_zip_that_lies_about_its_sizes_ends_at_the_limit(tmp_path: Path) -> None:
    content = bytearray(zipped({"a": bytes(8 * MOST_BYTES)}))
    start = content.index(b"PK\x01\x02") + 24
    content[start : start + 4] = (1000).to_bytes(4, "little")
    with pytest.raises(InvalidArgumentError, match=r"more than|damaged"):
        unpack(tmp_path, bytes(content))


def test_a_tar_with_an_endless_header_is_refused(tmp_path: Path) -> None:
    header = odd_entry("pax", tarfile.XHDTYPE)
    header.size = 1 << 30
    content = gzip.compress(header.tobuf(tarfile.USTAR_FORMAT) + bytes(1 << 24))
    with pytest.raises(InvalidArgumentError, match="no sensible size"):
        unpack(tmp_path, content)


def test_what_follows_the_end_of_a_tar_is_limited(tmp_path: Path) -> None:
    content = tarred(FILES)
    assert unpack(tmp_path, gzip.compress(content + bytes(1 << 20))) == FILES
    with pytest.raises(InvalidArgumentError, match="more than"):
        unpack(tmp_path, gzip.compress(content + bytes(MOST_BYTES + (65 << 20))))


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_too_many_files_are_refused(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_FILES", 100)
    assert len(unpack(tmp_path, pack(kind, {str(index): b"" for index in range(100)}))) == 100
    with pytest.raises(InvalidArgumentError, match="more than 100 files"):
        unpack(tmp_path, pack(kind, {str(index): b"" for index in range(101)}))


def test_too_many_folders_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_MOST_ENTRIES", 100)
    folders = [odd_entry(f"f{index}", tarfile.DIRTYPE) for index in range(101)]
    with pytest.raises(InvalidArgumentError, match="more than 100 entries"):
        unpack(tmp_path, tarred({}, odd=folders))


@pytest.mark.parametrize("kind", KINDS)
def test_every_cut_is_seen(tmp_path: Path, kind: str) -> None:
    content = pack(kind, FILES)
    for size in range(6, len(content.rstrip(b"\0")) - 1, 1 + len(content) // 60):
        with pytest.raises(InvalidArgumentError, match=r"cut off or damaged|holds no tar"):
            unpack(tmp_path, content[:size])


def test_a_tar_that_ends_between_two_files_is_cut_off(tmp_path: Path) -> None:
    first = 512 + 512  # the first file and its header
    with pytest.raises(InvalidArgumentError, match="ends before its end mark"):
        unpack(tmp_path, tarred(FILES)[:first])


def test_a_damaged_header_is_not_the_end(tmp_path: Path) -> None:
    content = bytearray(tarred(FILES))
    content[1024 + 10] ^= 0xFF
    with pytest.raises(InvalidArgumentError, match="damaged"):
        unpack(tmp_path, bytes(content))


@pytest.mark.parametrize("kind", ["zip", "gz", "xz"])
def test_a_wrong_checksum_is_seen(tmp_path: Path, kind: str) -> None:
    content = bytearray(pack(kind, {"a": bytes(range(256)) * 4}))
    at = content.index(b"PK\x01\x02") + 16 if kind == "zip" else len(content) - (8 if kind == "gz" else 20)
    content[at] ^= 0xFF
    with pytest.raises(InvalidArgumentError, match="damaged"):
        unpack(tmp_path, bytes(content))


def test_what_a_mac_adds_is_left_out(tmp_path: Path) -> None:
    files = {"m/x": b"1", "__MACOSX/m/._x": b"2", "m/.DS_Store": b"3", "m/._x": b"4"}
    assert unpack(tmp_path, zipped(files)) == {"m/x": b"1"}


def test_dots_and_folders_before_names_are_no_matter(tmp_path: Path) -> None:
    folders = [odd_entry(".", tarfile.DIRTYPE), odd_entry("./m/", tarfile.DIRTYPE)]
    assert unpack(tmp_path, tarred({"./m/x": b"1"}, odd=folders)) == {"m/x": b"1"}


def test_something_compressed_that_is_no_tar_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="holds no tar"):
        unpack(tmp_path, gzip.compress(b"\x08\x08 an ONNX file, say" * 1000))
