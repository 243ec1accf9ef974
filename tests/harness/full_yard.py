"""A yard in which everything that can happen to a record has happened, and a look at all of its rows."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from controlplane.db.schema_tables import read_tables
from controlplane.domain import (
    Allocation,
    Deployment,
    FactKind,
    GpuShare,
    NodeScheduling,
    Plan,
    Pool,
    Replica,
    RouteTable,
    Sample,
    Schedulability,
    Serving,
    VersionEdit,
)
from controlplane.registry.sql.database import Database
from controlplane.registry.sql.migrate import open_database, read_revision
from controlplane.registry.sql.registry_store import SqlRegistryStore
from controlplane.registry.sql.state_store import SqlStateStore
from tests.harness.records import NOW, make_alias, make_author, make_draft, make_sha256

Rows = dict[str, list[tuple[Any, ...]]]
SAMPLE = "sample"
# Each is a file that a record needs: resnet@1 to @3, bert@1.
CONTENTS = ("a", "bb", "ccc", "dddd")


def fill_yard(url: str) -> None:
    """resnet@1 to @4, of which 3 is deleted and 4 purged, and bert@1; `production` went 1, 2, 1, and is served."""
    database = open_database(url)
    registry, state = SqlRegistryStore(database), SqlStateStore(database)
    sample = Sample(make_sha256(SAMPLE), len(SAMPLE), is_made=True)
    told: dict[str, Any] = {
        "metrics": {"top1": 0.1, "loss": -1e300},
        "parameters": {"lr": "1e-3"},
        "tags": {"team": "ß"},
    }
    for content in (*CONTENTS[:3], "purged"):
        registry.create_version(
            make_draft(content=content, sample=sample, description="straße", user="ann", **told), NOW
        )
    registry.create_version(make_draft("bert", CONTENTS[3]), NOW)
    registry.edit_version(
        "resnet", 1, VersionEdit("new", {"owner": "bob"}, ("team",), {"top5": 0.9}), make_author(), None
    )
    for number in (2, 3, 4):
        registry.delete_version("resnet", number, make_author())
    registry.restore_version("resnet", 2, make_author())
    registry.purge_version("resnet", 4, make_author())
    for version in (1, 2):
        registry.set_alias(make_alias(version))
    registry.roll_back_alias("resnet", "production", make_author())
    registry.set_alias(make_alias(2, name="gone"))
    registry.delete_alias("resnet", "gone", make_author())
    _place(state)
    state.store_route_table(RouteTable(3, (Pool("p", "resnet", 1, ()),)), {})
    recorded = [fact.number for fact in registry.list_facts(False, 0, 1000) if fact.kind is FactKind.REGISTERED]
    registry.mark_recorded(recorded, True)
    database.close()


def _place(state: SqlStateStore) -> None:
    serving = Serving("triton", max_batch_rows=8, max_batch_wait_us=500)
    state.put_deployment(Deployment("resnet", "production", replicas=2), make_author())
    changed = Deployment("resnet", "production", 2, gpu_percent=25, gpu_memory_bytes=1 << 33, serving=serving)
    state.put_deployment(changed, make_author())
    allocation = Allocation((0, 1), 1, 9, GpuShare("GPU-1", 25, 1 << 33), is_memory_estimated=True)
    replica = Replica("r-1", "resnet", 1, "production", "host-1", allocation, serving=serving, created_at=NOW)
    state.apply_plan(Plan(create=(replica,)), state.load_state().revision)
    state.put_scheduling(NodeScheduling("host-1", Schedulability.CORDONED, make_author(reason="new disk")))


def keep_files(artifacts: Path) -> None:
    """All that the records of `fill_yard` need."""
    for content in (*CONTENTS, SAMPLE):
        path = file_of(artifacts, content)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def file_of(artifacts: Path, content: str) -> Path:
    sha256 = make_sha256(content)
    return artifacts / "sha256" / sha256[:2] / sha256


def read_rows(url: str) -> Rows:
    """All of them, by table, the same for the same yard on each kind of database."""
    database = open_database(url)
    try:
        return read_all_rows(database)
    finally:
        database.close()


def read_all_rows(database: Database) -> Rows:
    with database.reading() as connection:
        revision = read_revision(connection)
        assert revision is not None
        rows = {}
        for name, table in read_tables(revision).items():
            found = connection.execute(sa.select(table.clause))
            rows[name] = sorted((tuple(row) for row in found), key=repr)
        return rows


def without_recorded(rows: Rows) -> Rows:
    """The lineage store is filled anew, so the last column of the journal is another after a restore."""
    return {**rows, "lineage_facts": [row[:-1] for row in rows["lineage_facts"]]}
