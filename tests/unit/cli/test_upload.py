"""The stream of a registration: gRPC reads it in a thread of its own, so it never raises and outlives its call."""

from pathlib import Path

import pytest

from modelyard.cli.register import _upload
from modelyard.errors import AlreadyExistsError, InvalidArgumentError
from modelyard.v1 import registry_pb2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"x" * (3 << 20))
    return path


@pytest.fixture
def header(path: Path) -> registry_pb2.CreateVersionRequest.Header:
    return registry_pb2.CreateVersionRequest.Header(parent="models/resnet", size_bytes=path.stat().st_size)


def test_the_file_follows_its_header(path: Path, header: registry_pb2.CreateVersionRequest.Header) -> None:
    with _upload(header, path) as requests:
        first, *chunks = list(requests)
    assert first.header == header
    assert b"".join(request.chunk for request in chunks) == path.read_bytes()


def test_it_may_still_be_read_after_a_refusal(path: Path, header: registry_pb2.CreateVersionRequest.Header) -> None:
    with pytest.raises(AlreadyExistsError), _upload(header, path) as requests:
        next(requests)
        next(requests)
        raise AlreadyExistsError("resnet@1")
    assert len(list(requests)) == 2


def test_a_file_that_cannot_be_read_is_said_here(path: Path, header: registry_pb2.CreateVersionRequest.Header) -> None:
    path.unlink()
    with (
        pytest.raises(InvalidArgumentError, match="cannot be read to its end: No such file"),
        _upload(header, path) as requests,
    ):
        assert len(list(requests)) == 1
        raise InvalidArgumentError("0 bytes arrived and 3145728 were announced")
