"""The record of an export: what is wrong with it is said, and nothing outside of it is read."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from modelyard.cli import record
from modelyard.cli.local_model import LocalModel
from modelyard.errors import DataLossError, InvalidArgumentError
from modelyard.v1 import resources_pb2

CONTENT, SAMPLE = b"model", b"PKsample"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    version = resources_pb2.Version(
        model_id="resnet@3", model="resnet", number=3, format=resources_pb2.MODEL_FORMAT_ONNX,
        packaging=resources_pb2.PACKAGING_FILE, sha256=hashlib.sha256(CONTENT).hexdigest(), size_bytes=len(CONTENT),
        metrics={"top1": 0.1}, parameters={"lr": "0.1"}, tags={"team": "vision"}, user="ann",
    )  # fmt: skip
    version.create_time.FromJsonString("2026-03-01T10:00:00.123456Z")
    version.sample.sha256, version.sample.size_bytes = hashlib.sha256(SAMPLE).hexdigest(), len(SAMPLE)
    change = resources_pb2.VersionChange(revision=1, changes_json='{"tags": {"from": {}, "to": {"team": "vision"}}}')
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "record.json").write_bytes(record.make_record(version, [change]))
    (folder / "model.onnx").write_bytes(CONTENT)
    (folder / "sample.npz").write_bytes(SAMPLE)
    return folder


def _edit(folder: Path, **parts: Any) -> None:
    plain = json.loads((folder / "record.json").read_text())
    for path, value in parts.items():
        *parents, last = path.split("__")
        place = plain
        for parent in parents:
            place = place[parent]
        place[last] = value
    (folder / "record.json").write_text(json.dumps(plain))


def test_what_was_written_is_read_again(folder: Path) -> None:
    found = record.read_record(folder)
    assert (found.version.model_id, found.version.user, found.files.model) == ("resnet@3", "ann", "model.onnx")
    assert found.version.metrics == {"top1": 0.1} and found.version.tags == {"team": "vision"}
    assert found.version.create_time.isoformat() == "2026-03-01T10:00:00.123456+00:00"
    assert record.read_sample(found, folder) == SAMPLE
    assert json.loads((folder / "record.json").read_text())["changes"][0]["changes"]["tags"]["to"] == {"team": "vision"}


def test_a_made_sample_is_made_again(folder: Path) -> None:
    _edit(folder, version__sample__is_made=True)
    assert record.read_sample(record.read_record(folder), folder) == b""


def test_a_tampered_model_or_sample_is_refused(folder: Path) -> None:
    found = record.read_record(folder)
    (folder / "model.onnx").write_bytes(b"other")
    model = LocalModel(folder / "model.onnx")
    with pytest.raises(DataLossError, match="is not what was exported"):
        record.check_model(found, model, model.compute_sha256(lambda _: None))
    (folder / "sample.npz").write_bytes(b"PKother")
    with pytest.raises(DataLossError, match=r"sample\.npz is not what was exported"):
        record.read_sample(found, folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "link", "model.onnx/..", "", "below/../../secret"])
def test_no_path_leads_out_of_the_export(folder: Path, name: str) -> None:
    (folder.parent / "secret").write_bytes(b"secret")
    (folder / "link").symlink_to("../secret")
    _edit(folder, files__model=name, files__sample=name)
    found = record.read_record(folder)
    with pytest.raises(InvalidArgumentError):
        record.find_file(folder, found.files.model)
    if name:
        with pytest.raises(InvalidArgumentError):
            record.read_sample(found, folder)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"schema": "modelyard.export/2"}, "this program reads 'modelyard.export/1' alone"),
        ({"version__metrics": {"top1": "good"}}, "version.metrics.top1"),
        ({"version__sha256": None}, "version.sha256"),
        ({"version__create_time": "yesterday"}, "version.create_time"),
        ({"files": []}, "files"),
    ],
)
def test_a_record_that_is_none_says_where(folder: Path, parts: dict[str, Any], said: str) -> None:
    _edit(folder, **parts)
    with pytest.raises(InvalidArgumentError) as caught:
        record.read_record(folder)
    assert said in caught.value.message


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(folder: Path, content: bytes) -> None:
    (folder / "record.json").write_bytes(content)
    with pytest.raises(InvalidArgumentError, match=r"record\.json"):
        record.read_record(folder)
    (folder / "record.json").unlink()
    with pytest.raises(InvalidArgumentError, match="is no export"):
        record.read_record(folder)
