"""What the controller reads itself: a file or a folder, from where it may read."""

import errno
import os
from pathlib import Path

import fsspec
import pytest

from controlplane.registry.files.uri_source import check_uri, open_uri
from modelyard.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from modelyard.packing import list_files, pack

CONTENT = os.urandom(9 << 20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    (made / "variables").mkdir(parents=True)
    (made / "saved_model.pb").write_bytes(b"graph")
    (made / "variables" / "variables.data").write_bytes(CONTENT)
    return made


def read(uri: str, prefixes: tuple[str, ...] = ()) -> bytes:
    source = open_uri(uri, prefixes)
    content = b"".join(source.read())
    assert source.size_bytes == len(content)
    return content


def packed(folder: Path) -> bytes:
    return b"".join(pack(folder, list_files(folder)))


def test_a_file_is_read_as_it_is(folder: Path) -> None:
    assert read(f"file://{folder}/variables/variables.data") == CONTENT


def test_a_folder_is_read_as_it_would_be_sent(folder: Path) -> None:
    assert read(f"file://{folder}") == packed(folder)
    assert read(f"file://{folder}/") == packed(folder)


def test_so_it_is_from_anywhere_else(folder: Path) -> None:
    memory = fsspec.filesystem("memory")
    try:
        memory.put(str(folder), "/bucket/model", recursive=True)
        assert read("memory://bucket/model") == packed(folder)
        assert read("memory://bucket/model/saved_model.pb") == b"graph"
    finally:
        memory.store.clear()


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("/etc/passwd", "is no URI"),
        ("", "is no URI"),
        ("s3://bucket/a\nb", "is no URI"),
        ("file:///" + "x" * 2000, "is no URI"),
        ("zip://a::file:///b.zip", "'::'"),
        ("file:///models/../etc/passwd", r"'\.\.'"),
        ("nosuch://host/model", "nosuch"),
        ("file:///dev/null", "neither a file nor a folder"),
        ("s3://", "names no file"),
        ("file:///", "names no file"),
    ],
)
def test_what_is_no_place_of_a_model_is_refused(uri: str, told: str) -> None:
    with pytest.raises(InvalidArgumentError, match=told):
        open_uri(uri, ())


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is nothing at file:"):
        open_uri(f"file://{tmp_path}/none", ())
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidArgumentError, match="folder without files"):
        open_uri(f"file://{tmp_path}/empty", ())


def test_what_lacks_its_package_is_said_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "hdfs_native", None)
    with pytest.raises(FailedPreconditionError, match=r"pip install 'modelyard\[hdfs\]'"):
        open_uri("hdfs://name/model", ())
    with pytest.raises(FailedPreconditionError, match=r"lacks what gs:// needs; install.*gcsfs"):
        open_uri("gs://bucket/model", ())


def test_a_link_in_a_folder_is_refused(folder: Path) -> None:
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(InvalidArgumentError, match="is a link"):
        open_uri(f"file://{folder}", ())


def test_only_what_begins_as_it_may_is_read(folder: Path, tmp_path: Path) -> None:
    allowed = (f"file://{tmp_path}/model", "s3://models/")
    assert read(f"file://{folder}/saved_model.pb", allowed) == b"graph"
    check_uri("s3://models/resnet", allowed)
    for uri in (f"file://{tmp_path}/model2/x", "s3://models2/x", "hdfs://name/x", f"file://{tmp_path}"):
        with pytest.raises(InvalidArgumentError, match="it may read what begins with"):
            check_uri(uri, allowed)


def test_a_link_does_not_lead_out_of_what_may_be_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(InvalidArgumentError, match=r"does not read.*secret"):
        open_uri(f"file://{folder}/link", (f"file://{folder}",))


@pytest.fixture(params=["itself", "itself, with a slash behind it", "in its path", "twice"])
def linked(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> str:
    """What may be read, where that is `folder` by way of a link."""
    if request.param == "in its path":
        (tmp_path / "mount").symlink_to(tmp_path)
        return f"file://{tmp_path}/mount/model"
    (tmp_path / "models").symlink_to(folder)
    if request.param == "twice":
        (tmp_path / "again").symlink_to(tmp_path / "models")
        return f"file://{tmp_path}/again"
    return f"file://{tmp_path}/models" + ("/" if request.param != "itself" else "")


def test_what_is_below_a_link_that_may_be_read_is_read(linked: str, folder: Path) -> None:
    uri = linked.rstrip("/")
    assert read(f"{uri}/saved_model.pb", (linked,)) == b"graph"
    assert read(uri, (uri,)) == packed(folder)
    assert read(f"{uri}/variables", (linked,)) == packed(folder / "variables")
    (folder / "newest.data").symlink_to("variables/variables.data")  # which stays inside
    assert read(f"{uri}/newest.data", (linked,)) == CONTENT


def test_from_below_a_link_that_may_be_read_no_other_leads_out(linked: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model2").mkdir()  # whose name only begins as it may
    (tmp_path / "model2" / "secret").write_bytes(b"secret")
    (folder / "file").symlink_to(tmp_path / "model2" / "secret")
    (folder / "folder").symlink_to(tmp_path / "model2")
    for name in ("file", "folder", "folder/secret"):
        with pytest.raises(InvalidArgumentError, match=r"does not read.*model2"):
            open_uri(f"{linked.rstrip('/')}/{name}", (linked,))


def test_a_file_without_access_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)  # root may read everything
    with pytest.raises(FailedPreconditionError, match="no access"):
        read(f"file://{folder}/saved_model.pb")


def test_a_file_that_changes_meanwhile_is_refused(folder: Path) -> None:
    source = open_uri(f"file://{folder}", ())
    (folder / "variables" / "variables.data").write_bytes(b"short")
    with pytest.raises(InvalidArgumentError, match="was changed while it was read"):
        list(source.read())
