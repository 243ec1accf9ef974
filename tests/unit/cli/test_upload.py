"""The stream of a registration: gRPC reads it in a thread of its own, so it never raises and outlives its call."""

import hashlib
from pathlib import Path

import pytest

from modelyard.cli.local_model import LocalModel
from modelyard.cli.upload import make_requests
from modelyard.errors import InvalidArgumentError
from modelyard.v1 import registry_pb2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(bytes(range(256)) * (3 << 12))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "saved"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph" * 1000)
    (folder / "variables" / "variables.data").write_bytes(b"w" * (1 << 20))
    return folder


def _send(path: Path, offset_bytes: int = 0) -> tuple[list[bytes], list[int], list[Exception]]:
    model = LocalModel(path)
    header = registry_pb2.CreateVersionRequest.Header(size_bytes=model.size_bytes, offset_bytes=offset_bytes)
    told: list[int] = []
    broken: list[Exception] = []
    first, *chunks = list(make_requests(header, model, offset_bytes, told.append, broken))
    assert first.header == header
    return [request.chunk for request in chunks], told, broken


@pytest.mark.parametrize("what", ["path", "folder"])
def test_any_place_in_it_can_be_gone_on_from(request: pytest.FixtureRequest, what: str) -> None:
    path: Path = request.getfixturevalue(what)
    whole, told, _ = _send(path)
    content = b"".join(whole)
    assert len(content) == LocalModel(path).size_bytes == told[-1]
    assert LocalModel(path).compute_sha256(told.append) == hashlib.sha256(content).hexdigest()
    for offset_bytes in (1, 511, 512, len(whole[0]), len(whole[0]) + 7, len(content) - 1, len(content)):
        rest, told, broken = _send(path, offset_bytes)
        assert b"".join(rest) == content[offset_bytes:] and b"" not in rest and not broken
        assert not told or told[-1] == len(content)


def test_a_file_that_cannot_be_read_ends_the_stream_without_raising(path: Path) -> None:
    model, broken = LocalModel(path), list[Exception]()
    path.unlink()
    header = registry_pb2.CreateVersionRequest.Header(size_bytes=model.size_bytes)
    assert len(list(make_requests(header, model, 0, lambda _: None, broken))) == 1
    assert isinstance(broken[0], FileNotFoundError)


def test_a_folder_that_was_changed_meanwhile_is_noticed(folder: Path) -> None:
    model, broken = LocalModel(folder), list[Exception]()
    (folder / "saved_model.pb").write_bytes(b"other")
    header = registry_pb2.CreateVersionRequest.Header(size_bytes=model.size_bytes)
    sent = b"".join(request.chunk for request in make_requests(header, model, 0, lambda _: None, broken))
    assert len(sent) < model.size_bytes and "was changed while it was read" in str(broken[0])


def test_what_can_be_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(InvalidArgumentError, match="is empty"):
        LocalModel(tmp_path / "empty.onnx")
    (tmp_path / "folder" / "below").mkdir(parents=True)
    with pytest.raises(InvalidArgumentError, match="has no file in it"):
        LocalModel(tmp_path / "folder")
    with pytest.raises(InvalidArgumentError, match="not a regular file"):
        LocalModel(Path("/dev/null"))
