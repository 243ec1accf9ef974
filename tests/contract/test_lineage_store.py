"""The lineage store beside the yard's tables, on either kind of database, with what each of them is touchy about."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controlplane.domain import Deployment, Fact, Serving, Source
from controlplane.registry.lineage import MlMetadataLineage, lineage_config
from controlplane.registry.store import RegistryStore
from tests.contract.conftest import Stores
from tests.harness.lineage_story import record_all, tell_story
from tests.harness.records import NOW, make_author, make_draft

HOSTILE = [
    ", TRUE, NULL); DROP TABLE {table}; --\\",
    "'); DROP TABLE {table}; --",
    "\\'); DROP TABLE {table}; --",
    '$$ {table} $$ %s %(x)s :y ? " ` é \U0001f600 \r\n\t',
]


@pytest.fixture
def registry(stores: Stores) -> RegistryStore:
    return stores.registry


@pytest.fixture
def lineage(url: str, tmp_path: Path) -> Iterator[MlMetadataLineage]:
    with closing(MlMetadataLineage(lineage_config("", url, tmp_path))) as opened:
        yield opened


def list_facts(registry: RegistryStore) -> Sequence[Fact]:
    return [*registry.list_facts(True, 0, 1000), *registry.list_facts(False, 0, 1000)]


def test_both_live_side_by_side(stores: Stores, lineage: MlMetadataLineage) -> None:
    tell_story(stores.registry, stores.state)
    record_all(stores.registry, lineage)
    assert lineage.has(list_facts(stores.registry)) == {fact.number for fact in list_facts(stores.registry)}
    record_all(stores.registry, lineage)
    graph = lineage.read("resnet", 2)
    types = sorted(node.type.removeprefix("modelyard.") for node in graph.nodes)
    assert types == [
        *("Alias", "AliasMove", "Change", "DataSet", "Deployment", "Deployment"),
        *("Model", "Registration", "TrainingRun", "Version"),
    ]
    assert graph.nodes[0].properties["tag.team"] == "vision"
    assert stores.registry.get_version("resnet", 2).facts.tags == {"team": "vision"}


def test_how_a_deployment_was_served_is_told_where_it_was_chosen(stores: Stores, lineage: MlMetadataLineage) -> None:
    tell_story(stores.registry, stores.state)
    serving = Serving("triton", max_batch_rows=8, max_batch_wait_us=500)
    chosen = Deployment("resnet", "production", 2, gpu_percent=25, gpu_memory_bytes=1 << 33, serving=serving)
    stores.state.put_deployment(chosen, make_author("bob", after_s=20))
    record_all(stores.registry, lineage)
    deployments = [node for node in lineage.read("resnet", 2).nodes if node.type == "modelyard.Deployment"]
    told = [node.properties for node in deployments if "runtime" in node.properties]
    assert len(told) == 1 < len(deployments)
    keys = ("gpu_percent", "gpu_memory_bytes", "runtime", "max_batch_rows", "max_batch_wait_us")
    assert [told[0][key] for key in keys] == ["25", str(1 << 33), "triton", "8", "500"]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_is_taken_for_sql(registry: RegistryStore, lineage: MlMetadataLineage, text: str) -> None:
    text = text.format(table="models")
    facts: dict[str, Any] = {
        "description": text,
        "user": text,
        "parameters": {"p": text, text.strip().replace("\r\n\t", ""): "x"},
        "tags": {"t": text},
        "source": Source(text, text, text),
    }
    draft = replace(make_draft(), **facts)
    registry.create_version(draft, NOW)
    record_all(registry, lineage)
    assert registry.get_version("resnet", 1).facts == draft
    version, *others = lineage.read("resnet", 1).nodes
    read = {"description": text, "user": text, "parameter.p": text, "tag.t": text, "dataset_uri": text}
    assert {key: version.properties[key] for key in read} == read
    assert {node.type: node.properties["uri"] for node in others if node.uri} == {"modelyard.DataSet": text}
    registry.create_version(replace(draft, sha256="1" * 64), NOW)  # whose data set and run are found again
    record_all(registry, lineage)
    for number in (1, 2):
        types = [node.type for node in lineage.read("resnet", number).nodes]
        assert types.count("modelyard.DataSet") == types.count("modelyard.TrainingRun") == 1


def test_the_largest_that_the_yard_takes_is_kept(registry: RegistryStore, lineage: MlMetadataLineage) -> None:
    # Of characters that do not compress, each of three bytes.
    text = "".join(chr(0x4E00 + place * 7919 % 20_000) for place in range(20_000))
    draft = make_draft(
        "m" * 100,
        description=text,
        user=text[:200],
        parameters={text[place : place + 100]: text[place : place + 2000] for place in range(200)},
        source=Source(text[:100], text[:1000], text[:2000]),
    )
    registry.create_version(replace(draft, size_bytes=1 << 49), NOW)
    record_all(registry, lineage)
    version, *_ = lineage.read("m" * 100, 1).nodes
    assert version.properties["description"] == text
    assert version.properties["size_bytes"] == str(1 << 49)
    assert sum(key.startswith("parameter.") for key in version.properties) == 200


def test_reading_does_not_wait_for_what_is_being_recorded(stores: Stores, lineage: MlMetadataLineage) -> None:
    tell_story(stores.registry, stores.state)
    record_all(stores.registry, lineage)
    recorder = lineage.recording_pid
    assert recorder is not None
    os.kill(recorder, signal.SIGSTOP)
    stores.registry.create_version(make_draft(content="later"), NOW)
    recording = threading.Thread(target=record_all, args=(stores.registry, lineage))
    recording.start()
    try:
        assert lineage.read("resnet", 2).nodes
        assert lineage.read("resnet", 3).nodes == ()
    finally:
        os.kill(recorder, signal.SIGCONT)
        recording.join()
    assert lineage.read("resnet", 3).nodes
