"""Files that come from a yard are whole or not there."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard import packing
from modelyard.cli import download
from modelyard.cli.byte_progress import ByteProgress
from modelyard.errors import DataLossError, FailedPreconditionError, UnavailableError
from modelyard.v1 import registry_pb2, resources_pb2

CONTENT = bytes(range(256)) * 40


class _Yard:
    """`cuts`: how many bytes come of each reading before it fails."""

    def __init__(self, content: bytes, *cuts: int) -> None:
        self.content, self.cuts = content, list(cuts)
        self.registry = self

    def ReadArtifact(self, request: Any, timeout_s: float | None) -> Iterator[Any]:
        end = request.offset_bytes + self.cuts.pop(0) if self.cuts else len(self.content)
        for start in range(request.offset_bytes, min(end, len(self.content)), 1000):
            yield registry_pb2.ReadArtifactResponse(chunk=self.content[start : min(start + 1000, end)])
        if end < len(self.content):
            raise UnavailableError("Socket closed")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.cli.reconnecting.time.sleep", lambda _: None)


def _version(content: bytes, packaging: Any = resources_pb2.PACKAGING_FILE) -> Any:
    return resources_pb2.Version(
        model_id="resnet@3", sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content), packaging=packaging
    )


def _fetch(yard: Any, version: Any, destination: Path) -> None:
    with download.written_whole(destination) as path:
        download.write_model(yard, version, path)


def test_a_cut_reading_goes_on_where_it_was(tmp_path: Path) -> None:
    yard = _Yard(CONTENT, 2500, 1, 5000)
    _fetch(yard, _version(CONTENT), tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == CONTENT and not yard.cuts


def test_a_controller_that_never_answers_is_given_up_at_once(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        _fetch(_Yard(CONTENT, 0, 0), _version(CONTENT), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_one_that_is_gone_for_good_is_given_up_in_the_end(tmp_path: Path) -> None:
    yard = _Yard(CONTENT, 100, *[0] * 50)
    with pytest.raises(UnavailableError):
        _fetch(yard, _version(CONTENT), tmp_path / "model.onnx")
    assert yard.cuts and not list(tmp_path.iterdir())


@pytest.mark.parametrize("packaging", [resources_pb2.PACKAGING_FILE, resources_pb2.PACKAGING_TAR])
def test_wrong_bytes_leave_nothing(tmp_path: Path, packaging: int) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(CONTENT)
    content = b"".join(packing.pack(folder, packing.list_files(folder)))
    damaged = bytearray(content)
    damaged[1000] ^= 1
    (tmp_path / "out").mkdir()
    with pytest.raises(DataLossError, match="nothing was kept"):
        _fetch(_Yard(bytes(damaged)), _version(content, packaging), tmp_path / "out" / "model")
    assert not list((tmp_path / "out").iterdir())


def test_a_folder_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(CONTENT)
    (folder / "variables" / "data").write_bytes(b"w" * 100_000)
    content = b"".join(packing.pack(folder, packing.list_files(folder)))
    _fetch(_Yard(content, 1111, 70_000), _version(content, resources_pb2.PACKAGING_TAR), tmp_path / "back")
    assert packing.list_files(tmp_path / "back") == packing.list_files(folder)
    assert b"".join(packing.pack(tmp_path / "back", packing.list_files(folder))) == content


@pytest.mark.parametrize("there", ["file", "folder", "link"])
def test_what_is_there_is_never_replaced(tmp_path: Path, there: str) -> None:
    destination = tmp_path / "model.onnx"
    make: dict[str, Callable[[], object]] = {
        "file": destination.touch,
        "folder": destination.mkdir,
        "link": lambda: destination.symlink_to("nowhere"),
    }
    make[there]()
    with pytest.raises(FailedPreconditionError, match="is there already"):
        _fetch(_Yard(CONTENT), _version(CONTENT), destination)
    assert list(tmp_path.iterdir()) == [destination]


def test_an_interrupted_fetch_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), download.written_whole(tmp_path / "out") as path:
        path.mkdir()
        (path / "half").write_bytes(b"half")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_and_purged_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(FailedPreconditionError, match="make it first"):
        _fetch(_Yard(CONTENT), _version(CONTENT), tmp_path / "no" / "model.onnx")
    purged = _version(CONTENT)
    purged.purge_time.GetCurrentTime()
    with pytest.raises(FailedPreconditionError, match="were purged"):
        _fetch(_Yard(CONTENT), purged, tmp_path / "model.onnx")


def test_progress_is_a_line_now_and_then_where_nobody_looks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("modelyard.cli.byte_progress.time.monotonic", lambda: now)
    progress = ByteProgress("sending model.onnx", 4 << 20)
    for now in (1.0, 5.0, 6.0, 11.0):
        progress.set(int(now) << 18)
    assert capsys.readouterr().err.splitlines() == [
        "sending model.onnx: 1.25 MiB of 4 MiB",
        "sending model.onnx: 2.75 MiB of 4 MiB",
    ]
