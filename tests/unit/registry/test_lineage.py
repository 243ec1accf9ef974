"""What the lineage store holds of a version."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as pb

from controlplane.domain import ModelFormat, Signature, TensorSpec, Version, VersionDraft
from controlplane.registry.lineage import MlMetadataLineage, sqlite_config
from controlplane.registry.signature_json import signature_from_json
from modelyard.errors import UnavailableError

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, 3)),), (TensorSpec("y", "BYTES", ()),))


def version(number: int, model: str = "resnet") -> Version:
    facts = VersionDraft(
        model=model,
        format=ModelFormat.ONNX,
        uri="file:///yard/sha256/00/00",
        sha256="0" * 64,
        size_bytes=1 << 31,
        signature=SIGNATURE,
        description="the first",
        user="ann",
        metrics={"top1": 0.76},
        parameters={"lr": "0.1"},
        tags={"team": "vision"},
    )
    return Version(number, facts, NOW)


def open_store(tmp_path: Path) -> MetadataStore:
    return MetadataStore(sqlite_config(tmp_path / "lineage.db"))


def test_all_that_is_known_is_kept(tmp_path: Path) -> None:
    MlMetadataLineage(sqlite_config(tmp_path / "lineage.db")).record(version(3))
    artifact = open_store(tmp_path).get_artifact_by_type_and_name("modelyard.Version", "resnet@3")
    facts = {key: getattr(value, value.WhichOneof("value")) for key, value in artifact.properties.items()}
    assert signature_from_json(json.loads(facts.pop("signature"))) == SIGNATURE
    assert facts == {
        "name": "models/resnet/versions/3",
        "model": "resnet",
        "version": 3,
        "sha256": "0" * 64,
        "size_bytes": 1 << 31,
        "format": "onnx",
        "description": "the first",
        "user": "ann",
    }
    assert artifact.uri == "file:///yard/sha256/00/00"
    assert artifact.custom_properties["metric.top1"].double_value == 0.76
    assert artifact.custom_properties["parameter.lr"].string_value == "0.1"
    assert artifact.custom_properties["tag.team"].string_value == "vision"


def test_versions_belong_to_their_model_and_come_from_their_registration(tmp_path: Path) -> None:
    lineage = MlMetadataLineage(sqlite_config(tmp_path / "lineage.db"))
    for made in (version(1), version(2), version(1, "bert")):
        lineage.record(made)
    store = open_store(tmp_path)
    context = store.get_context_by_type_and_name("modelyard.Model", "resnet")
    artifacts = store.get_artifacts_by_context(context.id)
    assert sorted(artifact.name for artifact in artifacts) == ["resnet@1", "resnet@2"]
    assert len(store.get_executions_by_context(context.id)) == 2
    (event,) = store.get_events_by_artifact_ids([artifacts[0].id])
    assert event.type == pb.Event.OUTPUT
    assert event.milliseconds_since_epoch == NOW.timestamp() * 1000
    assert store.get_executions_by_id([event.execution_id])[0].name == artifacts[0].name


def test_recording_again_changes_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        lineage = MlMetadataLineage(sqlite_config(tmp_path / "lineage.db"))
        lineage.record(version(1))
        lineage.record(version(1))
    store = open_store(tmp_path)
    assert [len(found) for found in (store.get_artifacts(), store.get_executions(), store.get_contexts())] == [1, 1, 1]
    assert len(store.get_events_by_artifact_ids([1])) == 1


def test_it_tells_what_it_has(tmp_path: Path) -> None:
    lineage = MlMetadataLineage(sqlite_config(tmp_path / "lineage.db"))
    lineage.record(version(1))
    assert [lineage.has(version(number)) for number in (1, 2)] == [True, False]


def test_a_version_that_it_does_not_take_is_told_apart_from_a_store_that_is_away(tmp_path: Path) -> None:
    lineage = MlMetadataLineage(sqlite_config(tmp_path / "lineage.db"))
    with pytest.raises(ValueError, match="out of range"):
        lineage.record(version(2**63))
    lineage.record(version(1))
    assert lineage.has(version(1))


def test_it_goes_on_once_the_store_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    lineage = MlMetadataLineage(sqlite_config(folder / "lineage.db"))
    with pytest.raises(UnavailableError, match="lineage store"):
        lineage.record(version(1))
    folder.mkdir()
    lineage.record(version(1))
    assert len(open_store(folder).get_artifacts()) == 1


def test_a_store_that_breaks_in_use_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "lineage.db"
    lineage = MlMetadataLineage(sqlite_config(path))
    lineage.record(version(1))
    content = path.read_bytes()
    path.write_bytes(b"x" * len(content))
    with pytest.raises(UnavailableError):
        lineage.record(version(2))
    path.write_bytes(content)
    lineage.record(version(2))
    assert len(open_store(tmp_path).get_artifacts()) == 2
