"""What the controller reads itself, from real places: files and folders on S3, HDFS and a web server."""

import functools
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from controlplane.registry.files import uri_source
from controlplane.registry.files.uri_source import UriSource, open_uri
from modelyard.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, UnavailableError
from modelyard.packing import list_files, pack
from tests.harness.hdfs import Hdfs
from tests.harness.s3 import BUCKET, PAGE_KEYS, S3

CONTENT = os.urandom(1 << 20) * 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    (made / "variables").mkdir(parents=True)
    (made / "saved_model.pb").write_bytes(b"graph")
    (made / "variables" / "variables.data").write_bytes(CONTENT)
    (made / "variables" / "empty").write_bytes(b"")
    return made


@pytest.fixture
def on_s3(s3: S3, folder: Path) -> str:
    for file in folder.rglob("*"):
        if file.is_file():
            s3.client.put_object(Bucket=BUCKET, Key=f"uris/model/{file.relative_to(folder)}", Body=file.read_bytes())
    # What browsers of buckets make of a folder.
    s3.client.put_object(Bucket=BUCKET, Key="uris/model/", Body=b"")
    s3.client.put_object(Bucket=BUCKET, Key="uris/model/variables/", Body=b"")
    return f"{s3.url}/uris/model"


@pytest.fixture
def on_hdfs(shared_hdfs: Hdfs, folder: Path) -> str:
    fs = fsspec.filesystem("hdfs", host="127.0.0.1", port=shared_hdfs.port)
    fs.put(str(folder), "/uris/model", recursive=True)
    return f"{shared_hdfs.url}/uris/model"


@pytest.fixture(params=["on_s3", pytest.param("on_hdfs", marks=pytest.mark.slow)])
def remote(request: pytest.FixtureRequest) -> str:
    uri: str = request.getfixturevalue(request.param)
    return uri


def read(source: UriSource) -> bytes:
    content = b"".join(source.read())
    assert source.size_bytes in (None, len(content))
    return content


def test_a_folder_has_the_content_that_it_has_when_it_is_sent(remote: str, folder: Path) -> None:
    assert read(open_uri(remote, ())) == b"".join(pack(folder, list_files(folder)))


def test_a_file_is_read_as_it_is(remote: str) -> None:
    assert read(open_uri(f"{remote}/variables/variables.data", ())) == CONTENT


@pytest.fixture
def many_on_s3(s3: S3, tmp_path: Path) -> str:
    """A flat folder of six pages."""
    for number in range(6 * PAGE_KEYS):
        s3.client.put_object(Bucket=BUCKET, Key=f"{tmp_path.name}/{number:02}", Body=b"x" * number)
    s3.client.put_object(Bucket=BUCKET, Key=f"{tmp_path.name}-2/not-below", Body=b"x")
    return f"{s3.url}/{tmp_path.name}"


def test_a_folder_of_several_pages_is_read_whole(many_on_s3: str, tmp_path: Path) -> None:
    (tmp_path / "same").mkdir()
    for number in range(6 * PAGE_KEYS):
        (tmp_path / "same" / f"{number:02}").write_bytes(b"x" * number)
    same = b"".join(pack(tmp_path / "same", list_files(tmp_path / "same")))
    assert read(open_uri(many_on_s3, ())) == same


def test_no_more_of_a_folder_is_listed_than_shows_that_it_has_too_many_files(
    many_on_s3: str, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uri_source, "MOST_FILES", PAGE_KEYS + 1)
    before = s3.count_listings()
    with pytest.raises(InvalidArgumentError, match=f"more than {PAGE_KEYS + 1} files"):
        open_uri(many_on_s3, ())
    assert s3.count_listings() - before == 3  # whether it is a folder, and two pages


def test_what_is_not_there_is_said(remote: str) -> None:
    with pytest.raises(NotFoundError, match="there is nothing at"):
        open_uri(f"{remote}/none", ())


def test_a_bucket_that_is_not_there_is_said(s3: S3) -> None:
    with pytest.raises(NotFoundError, match="there is nothing at s3://nobodys"):
        open_uri("s3://nobodys/model", ())


def test_credentials_that_are_missing_are_said(s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(FailedPreconditionError, match=r"no access to s3://models/a.*credentials"):
        open_uri("s3://models/a", ())


def test_an_address_where_nobody_listens_is_said() -> None:
    with pytest.raises(UnavailableError, match=r"hdfs://127.0.0.1:1/model cannot be used"):
        open_uri("hdfs://127.0.0.1:1/model", ())


@pytest.fixture
def web(folder: Path) -> Iterator[str]:
    """Python's own web server: it knows no ranges."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_web_server_is_read(web: str) -> None:
    assert read(open_uri(f"{web}/variables/variables.data", ())) == CONTENT
    with pytest.raises(NotFoundError, match="there is nothing at http"):
        open_uri(f"{web}/none", ())
