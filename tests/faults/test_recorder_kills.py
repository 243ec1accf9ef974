"""A recorder that is killed at any step between the two stores: the next one ends with each fact recorded once."""

import copy
import itertools
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.json_format import MessageToJson
from ml_metadata.metadata_store import MetadataStore

from controlplane.registry.lineage import lineage_config
from controlplane.registry.lineage.messages import to_config
from controlplane.registry.sql.migrate import open_database
from controlplane.registry.sql.registry_store import SqlRegistryStore
from controlplane.registry.sql.schema import lineage_facts, metadata
from controlplane.registry.sql.state_store import SqlStateStore
from tests.harness.lineage_story import tell_story
from tests.harness.postgres import running_postgres

# Each takes as many lives of a recorder as there are steps.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# Three versions and their data set; their runs, and an execution for each of nine facts; two models, alias, deployment.
_NODES = 4 + 3 + 9 + 4
_EVENTS = 9 + 3 + 3  # of the facts, of the runs and what they took
# In models: three versions and nine executions. In the alias and the deployment: two of each.
_BELONGING = 3 + 9 + 4 + 4
Live = Callable[[int, str, Path], int]


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """Lets a recorder live until its n-th step, and returns the signal that ended it."""
    command = [sys.executable, "-m", "tests.faults.dying_recorder"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin is not None and program.stdout is not None

        def live(last: int, url: str, data: Path) -> int:
            print(last, url, data, file=program.stdin, flush=True)
            return int(program.stdout.readline())  # type: ignore[union-attr]

        yield live
        program.stdin.close()


def make_yard(url: str) -> None:
    database = open_database(url)
    tell_story(SqlRegistryStore(database), SqlStateStore(database))
    database.close()


def read_all(url: str, data: Path) -> dict[str, list[Any]]:
    """All that a lineage store has, but for the numbers and the times that it gave itself."""
    store = MetadataStore(to_config(lineage_config("", url, data)))
    artifacts, executions, contexts = store.get_artifacts(), store.get_executions(), store.get_contexts()
    titles = {(kind, node.id): node.name for kind, nodes in (("a", artifacts), ("e", executions)) for node in nodes}
    events = store.get_events_by_artifact_ids([artifact.id for artifact in artifacts])
    return {
        "nodes": sorted(map(describe, (*artifacts, *executions, *contexts))),
        "events": sorted(
            (titles["a", event.artifact_id], titles["e", event.execution_id], event.type) for event in events
        ),
        "contexts": sorted(
            (context.type, context.name, node.name)
            for context in contexts
            for node in (*store.get_artifacts_by_context(context.id), *store.get_executions_by_context(context.id))
        ),
    }


def describe(node: Any) -> str:
    node = copy.deepcopy(node)
    for field in ("id", "type_id", "create_time_since_epoch", "last_update_time_since_epoch"):
        node.ClearField(field)
    return MessageToJson(node, sort_keys=True)


def list_unrecorded(url: str) -> int:
    database = open_database(url)
    count = len(SqlRegistryStore(database).list_facts(False, 0, 1000))
    database.close()
    return count


def kill_at_each_step(live: Live, make: Callable[[int], tuple[str, Path]]) -> None:
    """`make`: a yard with a backlog, and nothing in its lineage store."""
    url, data = make(0)
    assert live(0, url, data) == 0
    whole = read_all(url, data)
    assert [len(whole[part]) for part in ("nodes", "events", "contexts")] == [_NODES, _EVENTS, _BELONGING]
    for step in itertools.count(1):
        url, data = make(step)
        ended_by = live(step, url, data)
        if ended_by == 0:  # it has no such step
            break
        assert ended_by == signal.SIGKILL
        assert list_unrecorded(url) > 0
        assert live(0, url, data) == 0
        assert read_all(url, data) == whole, f"killed at step {step}"
    assert step > 10


def test_on_sqlite(live: Live, tmp_path: Path) -> None:
    make_yard(f"sqlite:///{tmp_path}/yard.db")

    def make(step: int) -> tuple[str, Path]:
        data = tmp_path / str(step)
        data.mkdir()
        shutil.copy(tmp_path / "yard.db", data)
        return f"sqlite:///{data}/yard.db", data

    kill_at_each_step(live, make)


def test_on_postgresql(live: Live, tmp_path: Path) -> None:
    with running_postgres() as postgres, postgres.make_database() as url:
        make_yard(url)

        def make(step: int) -> tuple[str, Path]:
            empty_lineage(url)
            return url, tmp_path

        kill_at_each_step(live, make)


def empty_lineage(url: str) -> None:
    """As it was before the first fact was recorded."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        lineage_tables = set(sa.inspect(connection).get_table_names()) - {*metadata.tables, "alembic_version"}
        for table in lineage_tables:
            connection.execute(sa.text(f'DROP TABLE "{table}"'))
        connection.execute(sa.update(lineage_facts).values(recorded=False))
    engine.dispose()
