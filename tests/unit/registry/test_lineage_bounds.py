"""However much a version went through, what is read of it fits into one answer."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from controlplane.domain import Fact, FactKind, Version
from controlplane.registry.lineage import MlMetadataLineage, lineage_config
from controlplane.registry.lineage.mlmd import MlmdStore
from controlplane.registry.lineage.reading import read_graph
from controlplane.registry.page_bytes import PAGE_BYTES, count_bytes
from tests.harness.records import NOW, make_author, make_draft


def make_changes(count: int) -> list[tuple[Fact, Version]]:
    tags = {f"tag-{number}": "x" * 2_000 for number in range(200)}
    version = Version(1, make_draft(tags=tags, parameters=tags), NOW)
    details: dict[str, Any] = {"changes": {"tags": {"from": tags, "to": tags}}}
    registered = Fact(1, FactKind.REGISTERED, "resnet", 1, make_author())
    changed = [
        Fact(
            number, FactKind.CHANGED, "resnet", 1, make_author(after_s=number), details={"revision": number, **details}
        )
        for number in range(2, count + 2)
    ]
    return [(fact, version) for fact in (registered, *changed)]


def test_long_values_are_cut_off_and_say_so(tmp_path: Path) -> None:
    lineage = MlMetadataLineage(lineage_config("", "", tmp_path))
    lineage.record(make_changes(1))
    graph = read_graph(MlmdStore(lineage_config("", "", tmp_path)), "resnet", 1)
    (change,) = (node.properties["changes"] for node in graph.nodes if node.type == "modelyard.Change")
    assert change.startswith('{"tags": {"from": {"tag-0": "xxx')
    assert change.endswith(" characters)")
    assert len(change) < 21_000


def test_large_executions_are_left_out_from_the_oldest_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lineage = MlMetadataLineage(lineage_config("", "", tmp_path))
    lineage.record(make_changes(30))
    store = MlmdStore(lineage_config("", "", tmp_path))
    monkeypatch.setattr("controlplane.registry.page_bytes.PAGE_BYTES", PAGE_BYTES // 3)
    graph = read_graph(store, "resnet", 1)
    assert count_bytes(graph) < PAGE_BYTES // 3 + 20_000
    executions = [node for node in graph.nodes if node.type in ("modelyard.Change", "modelyard.Registration")]
    assert len(executions) + graph.left_out == 31
    assert graph.left_out > 0
    newest = max(node.time for node in executions if node.time)
    assert newest.replace(microsecond=0) == (NOW + timedelta(seconds=31)).replace(microsecond=0)
    assert "modelyard.Registration" in {node.type for node in executions}
    known = {node.id for node in graph.nodes}
    assert all({edge.from_id, edge.to_id} <= known for edge in graph.edges)
