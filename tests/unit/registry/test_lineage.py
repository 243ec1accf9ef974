"""What the lineage store holds of what happened, as ML Metadata's own client sees it."""

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as pb

from controlplane.domain import Fact, FactKind, Source, Version
from controlplane.registry.lineage import lineage_config
from controlplane.registry.lineage.local import LocalLineage
from controlplane.registry.lineage.mlmd import MlmdStore
from controlplane.registry.lineage.reading import read_graph
from controlplane.registry.lineage_graph import Graph
from controlplane.registry.signature_json import signature_from_json
from modelyard.errors import FailedPreconditionError, UnavailableError
from tests.harness.records import NOW, SIGNATURE, make_author, make_draft, make_sha256

Entry = tuple[Fact, Version]


def make_version(number: int = 1, model: str = "resnet", **facts: Any) -> Version:
    return Version(number, make_draft(model, f"{model}{number}", **facts), NOW)


def entry(number: int, kind: FactKind, of: Version, alias: str = "", /, **details: Any) -> Entry:
    return Fact(number, kind, of.model, of.number, make_author(after_s=number), alias, details), of


def registered(number: int = 1, model: str = "resnet", **facts: Any) -> Entry:
    return entry(number, FactKind.REGISTERED, make_version(number, model, **facts))


@pytest.fixture
def lineage(tmp_path: Path) -> LocalLineage:
    return LocalLineage(lineage_config("", "", tmp_path))


@pytest.fixture
def open_store(tmp_path: Path) -> Callable[[], MetadataStore]:
    def open_store() -> MetadataStore:
        config = pb.ConnectionConfig()
        config.sqlite.filename_uri = str(tmp_path / "lineage.db")
        config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        return MetadataStore(config)

    return open_store


Open = Callable[[], MetadataStore]


def values(properties: Any) -> dict[str, Any]:
    return {key: getattr(value, value.WhichOneof("value")) for key, value in properties.items()}


def names(nodes: Any) -> list[str]:
    return sorted(node.name for node in nodes)


def states(store: MetadataStore, type_: str = "modelyard.Deployment") -> dict[str, str]:
    found = store.get_executions_by_type(type_)
    return {node.name.split()[0]: pb.Execution.State.Name(node.last_known_state) for node in found}


def test_a_version_is_an_artifact_with_all_that_is_known(lineage: LocalLineage, open_store: Open) -> None:
    made = make_version(
        3,
        description="the first",
        user="ann",
        metrics={"top1": 0.76},
        parameters={"lr": "0.1"},
        tags={"team": "vision"},
    )
    made = replace(made, facts=replace(made.facts, size_bytes=1 << 40))
    lineage.record([entry(1, FactKind.REGISTERED, made)])
    artifact = open_store().get_artifact_by_type_and_name("modelyard.Version", "resnet@3")
    facts = values(artifact.properties)
    assert signature_from_json(json.loads(facts.pop("signature"))) == SIGNATURE
    assert facts == {
        "name": "models/resnet/versions/3",
        "model": "resnet",
        "version": 3,
        "revision": 0,
        "created_at": "2026-01-02T03:04:05.000678Z",
        "sha256": make_sha256("resnet3"),
        "size_bytes": 1 << 40,
        "format": "onnx",
        "packaging": "file",
        "description": "the first",
        "user": "ann",
    }
    assert artifact.uri == made.facts.uri
    assert artifact.state == pb.Artifact.LIVE
    assert values(artifact.custom_properties) == {"metric.top1": 0.76, "parameter.lr": "0.1", "tag.team": "vision"}


def test_versions_belong_to_their_model_and_come_from_their_registration(
    lineage: LocalLineage, open_store: Open
) -> None:
    lineage.record([registered(1), registered(2), registered(1, "bert")])
    store = open_store()
    context = store.get_context_by_type_and_name("modelyard.Model", "resnet")
    artifacts = store.get_artifacts_by_context(context.id)
    assert names(artifacts) == ["resnet@1", "resnet@2"]
    assert names(store.get_executions_by_context(context.id)) == ["resnet@1", "resnet@2"]
    (event,) = store.get_events_by_artifact_ids([artifacts[0].id])
    assert event.type == pb.Event.OUTPUT
    happened_at = NOW + timedelta(seconds=int(artifacts[0].name[-1]))
    assert event.milliseconds_since_epoch == round(happened_at.timestamp() * 1000)
    assert store.get_executions_by_id([event.execution_id])[0].name == artifacts[0].name


def test_versions_of_one_data_set_meet_in_it(lineage: LocalLineage, open_store: Open) -> None:
    lineage.record([registered(1, source=Source("c1", "run", "s3://data"))])
    lineage.record([registered(2, source=Source("c1", "run", "s3://data")), registered(3, source=Source("c2"))])
    store = open_store()
    (data_set,) = store.get_artifacts_by_type("modelyard.DataSet")
    assert data_set.uri == "s3://data"
    (event,) = store.get_events_by_artifact_ids([data_set.id])
    assert event.type == pb.Event.INPUT
    made = [found for found in store.get_events_by_execution_ids([event.execution_id]) if found.type == pb.Event.OUTPUT]
    assert names(store.get_artifacts_by_id([found.artifact_id for found in made])) == ["resnet@1", "resnet@2"]
    assert len(store.get_executions_by_type("modelyard.TrainingRun")) == 2


def test_recording_again_changes_nothing(tmp_path: Path, open_store: Open) -> None:
    source = Source("c", "run", "s3://data")
    entries = [
        registered(1, source=source),
        entry(2, FactKind.ALIASED, make_version(source=source), "production", kind="set"),
        entry(3, FactKind.DEPLOYED, make_version(source=source), "production", replicas=1, threads=1),
    ]

    def count() -> list[int]:
        store = open_store()
        artifacts, executions = store.get_artifacts(), store.get_executions()
        events = store.get_events_by_artifact_ids([artifact.id for artifact in artifacts])
        return [len(artifacts), len(executions), len(store.get_contexts()), len(events)]

    counts = []
    for _ in range(2):
        lineage = LocalLineage(lineage_config("", "", tmp_path))
        for again in (entries, entries[:2], entries[1:], [*entries, *entries]):
            lineage.record(again)
            counts.append(count())
    assert counts == [[2, 4, 3, 5]] * 8


def test_a_change_leaves_what_others_added(lineage: LocalLineage, open_store: Open) -> None:
    lineage.record([registered(1, tags={"a": "1", "b.c": "2"}, description="x" * 3000)])
    store = open_store()
    artifact = store.get_artifact_by_type_and_name("modelyard.Version", "resnet@1")
    artifact.custom_properties["reviewed by"].string_value = "eve"
    store.put_artifacts([artifact])
    changed = replace(make_version(tags={"a": "3", "d": "4"}, metrics={"f1": 0.5}, description="short"), revision=1)
    lineage.record([entry(2, FactKind.CHANGED, changed, revision=1, changes={})])
    artifact = open_store().get_artifact_by_type_and_name("modelyard.Version", "resnet@1")
    assert values(artifact.custom_properties) == {"reviewed by": "eve", "tag.a": "3", "tag.d": "4", "metric.f1": 0.5}
    assert artifact.properties["description"].string_value == "short"
    assert artifact.properties["revision"].int_value == 1
    assert artifact.uri == changed.facts.uri


def test_a_version_is_as_it_is_now_in_whatever_order_its_facts_come(lineage: LocalLineage, open_store: Open) -> None:
    now = replace(make_version(description="newest"), revision=2, deleted_at=NOW)
    entries = [
        entry(1, FactKind.REGISTERED, now),
        entry(2, FactKind.CHANGED, now, revision=1, changes={}),
        entry(3, FactKind.CHANGED, now, revision=2, changes={}),
        entry(4, FactKind.DELETED, now),
    ]
    for late in (entries[3], entries[1], entries[2], entries[0]):
        lineage.record([late])
    (artifact,) = open_store().get_artifacts()
    assert artifact.properties["description"].string_value == "newest"
    assert artifact.state == pb.Artifact.MARKED_FOR_DELETION
    assert len(open_store().get_events_by_artifact_ids([artifact.id])) == 4


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("clock", ["going on", "set back"])
def test_only_the_newest_deployment_of_an_alias_runs(
    lineage: LocalLineage, open_store: Open, order: tuple[int, ...], at_once: bool, clock: str
) -> None:
    entries = [
        entry(1, FactKind.DEPLOYED, make_version(1), "production", replicas=1),
        entry(2, FactKind.DEPLOYED, make_version(2), "production", replicas=1),
        entry(3, FactKind.DEPLOYED, make_version(3), "staging", replicas=1),
        entry(4, FactKind.UNDEPLOYED, make_version(3), "staging"),
    ]
    if clock == "set back":
        entries = [(replace(fact, author=make_author(after_s=-fact.number)), version) for fact, version in entries]
    ordered = [entries[place] for place in order]
    for batch in [ordered] if at_once else [[late] for late in ordered]:
        lineage.record(batch)
    assert states(open_store()) == {"resnet@1": "COMPLETE", "resnet@2": "RUNNING", "resnet@3": "COMPLETE"}


def test_it_tells_what_it_has(lineage: LocalLineage) -> None:
    entries = [registered(1), entry(2, FactKind.ALIASED, make_version(), "production"), registered(3)]
    facts = [fact for fact, _ in entries]
    assert lineage.has(facts) == set()
    lineage.record(entries[:2])
    assert lineage.has(facts) == {1, 2}
    restored = replace(facts[1], author=make_author(after_s=99))  # another one that was given the same number
    assert lineage.has([restored]) == set()


def test_what_does_not_belong_to_its_contexts_yet_is_not_recorded(
    lineage: LocalLineage, open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [registered(1), entry(2, FactKind.DEPLOYED, make_version(), "production", replicas=1)]

    def fail(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(MlmdStore, "associate", fail)
        lineage.record(entries)
    facts = [fact for fact, _ in entries]
    assert lineage.has(facts) == set()
    lineage.record(entries)
    assert lineage.has(facts) == {1, 2}
    store = open_store()
    context = store.get_context_by_type_and_name("modelyard.Deployment", "resnet/production")
    assert names(store.get_artifacts_by_context(context.id)) == ["resnet@1"]
    assert len(store.get_executions()) == 2


def test_a_store_of_before_is_used_on(tmp_path: Path, open_store: Open, lineage: LocalLineage) -> None:
    store = open_store()
    declared = dict.fromkeys(("name", "model", "sha256", "format", "signature", "description", "user"), pb.STRING)
    artifact_type = pb.ArtifactType(
        name="modelyard.Version", properties={**declared, "version": pb.INT, "size_bytes": pb.INT}
    )
    execution_type = pb.ExecutionType(name="modelyard.Registration", properties={"user": pb.STRING})
    context_type = pb.ContextType(name="modelyard.Model", properties={"name": pb.STRING})
    artifact = pb.Artifact(type_id=store.put_artifact_type(artifact_type), name="resnet@1")
    artifact.properties["sha256"].string_value = make_sha256("resnet1")
    artifact.properties["size_bytes"].int_value = 7
    execution = pb.Execution(type_id=store.put_execution_type(execution_type), name="resnet@1")
    context = pb.Context(type_id=store.put_context_type(context_type), name="resnet")
    store.put_execution(execution, [(artifact, pb.Event(type=pb.Event.OUTPUT))], [context])

    assert lineage.has([registered(1)[0], registered(2)[0]]) == {1}
    moved = entry(3, FactKind.CHANGED, replace(make_version(1), revision=1), revision=1, changes={})
    lineage.record([registered(1), registered(2), moved])
    found = {artifact.name: values(artifact.properties) for artifact in open_store().get_artifacts()}
    assert {name: facts["size_bytes"] for name, facts in found.items()} == {"resnet@1": 7, "resnet@2": 7}
    assert {name: facts["packaging"] for name, facts in found.items()} == {"resnet@1": "file", "resnet@2": "file"}
    registrations = {execution.name: execution for execution in open_store().get_executions()}
    filled = registrations["resnet@1"]
    assert {"time": "2026-01-02T03:04:06.000678Z", "fact": 1.0}.items() <= values(filled.properties).items()
    assert filled.last_known_state == pb.Execution.COMPLETE
    assert sorted(registrations) == ["resnet@1", "resnet@1 2026-01-02T03:04:08.000678Z #3", "resnet@2"]


def test_another_version_of_that_name_is_never_overwritten(lineage: LocalLineage, open_store: Open) -> None:
    lineage.record([registered(1)])
    other = make_version(1)
    other = replace(other, facts=replace(other.facts, sha256="f" * 64))
    with pytest.raises(FailedPreconditionError, match=r"another resnet@1 .* same backup"):
        lineage.record([entry(2, FactKind.CHANGED, other, revision=1, changes={})])
    (artifact,) = open_store().get_artifacts()
    assert artifact.properties["sha256"].string_value == make_sha256("resnet1")


def test_a_fact_that_it_does_not_take_is_told_apart_from_a_store_that_is_away(lineage: LocalLineage) -> None:
    with pytest.raises(ValueError, match="out of range"):
        lineage.record([entry(1, FactKind.ALIASED, make_version(2**63), "production")])
    lineage.record([registered(1)])
    assert lineage.has([registered(1)[0]]) == {1}


def test_what_the_store_itself_refuses_of_a_fact_is_told_apart_too(lineage: LocalLineage, open_store: Open) -> None:
    endless = registered(1, metrics={"loss": float("inf")})
    with pytest.raises(Exception, match="inf") as error:
        lineage.record([endless])
    assert not isinstance(error.value, UnavailableError)
    lineage.record([registered(2)])
    assert names(open_store().get_artifacts()) == ["resnet@2"]


def run_sql(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_a_store_that_takes_nothing_is_away(tmp_path: Path, lineage: LocalLineage) -> None:
    lineage.record([registered(1)])
    tables = ("Artifact", "Execution", "Context")
    refuse = "CREATE TRIGGER full{0} BEFORE INSERT ON {0} BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    run_sql(tmp_path / "lineage.db", *(refuse.format(table) for table in tables))
    with pytest.raises(UnavailableError, match="disk full"):
        lineage.record([registered(2)])
    run_sql(tmp_path / "lineage.db", *(f"DROP TRIGGER full{table}" for table in tables))
    lineage.record([registered(2)])
    assert lineage.has([registered(2)[0]]) == {2}


def test_it_goes_on_once_the_store_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    lineage = LocalLineage(lineage_config("", "", folder))
    for ask in (lambda: lineage.record([registered(1)]), lambda: lineage.read("resnet", 1)):
        with pytest.raises(UnavailableError, match="lineage store"):
            ask()
    folder.mkdir()
    lineage.record([registered(1)])
    assert lineage.read("resnet", 1).nodes


def test_a_store_that_breaks_in_use_is_opened_anew(tmp_path: Path, lineage: LocalLineage) -> None:
    path = tmp_path / "lineage.db"
    lineage.record([registered(1)])
    content = path.read_bytes()
    path.write_bytes(b"x" * len(content))
    with pytest.raises(UnavailableError):
        lineage.record([registered(2)])
    path.write_bytes(content)
    lineage.record([registered(2)])
    assert lineage.has([registered(1)[0], registered(2)[0]]) == {1, 2}


def titles(graph: Graph) -> dict[str, str]:
    return {node.id: f"{node.type.removeprefix('modelyard.')} {node.name.split()[0]}" for node in graph.nodes}


def test_what_is_around_a_version_is_read_and_its_neighbours_are_not(lineage: LocalLineage) -> None:
    source = Source("c", "run", "s3://data")
    first, second = make_version(1, source=source), make_version(2, source=source)
    lineage.record(
        [
            entry(1, FactKind.REGISTERED, first),
            entry(2, FactKind.REGISTERED, second),
            entry(3, FactKind.ALIASED, first, "production", kind="set"),
            entry(4, FactKind.ALIASED, second, "production", kind="set", from_version=1),
            entry(5, FactKind.DEPLOYED, second, "production", replicas=2, threads=1),
        ]
    )
    graph = lineage.read("resnet", 2)
    by_id = titles(graph)
    assert by_id[graph.version_id] == "Version resnet@2"
    assert sorted(by_id.values()) == [
        "Alias resnet/production",
        "AliasMove resnet@2",
        "DataSet s3://data",
        "Deployment resnet/production",
        "Deployment resnet@2",
        "Model resnet",
        "Registration resnet@2",
        "TrainingRun run",
        "Version resnet@2",
    ]
    assert {(by_id[edge.from_id], by_id[edge.to_id]) for edge in graph.edges} == {
        ("DataSet s3://data", "TrainingRun run"),
        ("TrainingRun run", "Version resnet@2"),
        ("Registration resnet@2", "Version resnet@2"),
        ("Version resnet@2", "AliasMove resnet@2"),
        ("Version resnet@2", "Deployment resnet@2"),
        ("Model resnet", "Version resnet@2"),
        ("Alias resnet/production", "AliasMove resnet@2"),
        ("Deployment resnet/production", "Deployment resnet@2"),
    }
    (deployment,) = (node for node in graph.nodes if by_id[node.id] == "Deployment resnet@2")
    assert deployment.time == (NOW + timedelta(seconds=5)).replace(microsecond=1000)
    assert (deployment.properties["replicas"], deployment.properties["state"]) == ("2", "RUNNING")


def test_a_version_that_is_not_recorded_has_no_lineage_yet(lineage: LocalLineage) -> None:
    lineage.record([registered(1)])
    assert lineage.read("resnet", 2) == lineage.read("bert", 1) == Graph()


def test_of_a_long_history_the_newest_is_read_and_where_it_came_from(tmp_path: Path, lineage: LocalLineage) -> None:
    made = make_version(source=Source("c", "run", "s3://data"))
    moves = [entry(number, FactKind.ALIASED, made, "production", kind="set") for number in range(2, 30)]
    lineage.record([entry(1, FactKind.REGISTERED, made), *moves])
    graph = read_graph(MlmdStore(lineage_config("", "", tmp_path)), "resnet", 1, most_executions=5)
    assert graph.left_out == 25
    facts = [node.properties.get("fact") for node in graph.nodes if node.type == "modelyard.AliasMove"]
    assert facts == ["27", "28", "29"]
    assert {"modelyard.TrainingRun", "modelyard.Registration", "modelyard.DataSet"} <= {
        node.type for node in graph.nodes
    }


def test_a_text_is_read_whole_that_could_not_be_kept_as_it_was(lineage: LocalLineage) -> None:
    texts: dict[str, Any] = {"description": "é" * 5000, "tags": {"path": "C:\\models", "x": "a\0b"}}
    lineage.record([registered(1, **texts, source=Source(dataset_uri="s3://" + "d" * 3000))])
    version, *others = lineage.read("resnet", 1).nodes
    assert version.properties["description"] == texts["description"]
    assert (version.properties["tag.path"], version.properties["tag.x"]) == ("C:\\models", "a\0b")
    assert not any(key.startswith("whole") for key in version.properties)
    (data_set,) = (node for node in others if node.type == "modelyard.DataSet")
    assert data_set.properties["uri"] == "s3://" + "d" * 3000
