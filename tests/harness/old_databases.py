"""Databases as earlier programs left them: made by the migrations of their time, with data in them."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from controlplane.registry.sql.migrate import connect_database, upgrade
from tests.harness.records import NOW

Insert = Callable[..., None]
LONG_TEXT = "ß" * 150


def make_old_database(url: str, revision: str) -> None:
    """At `url`, with the schema of `revision` and all kinds of rows."""
    database = connect_database(url)
    upgrade(database, revision)
    tables = sa.MetaData()
    with database.writing() as connection:
        tables.reflect(connection)

        def insert(table: str, *rows: Mapping[str, Any]) -> None:
            for row in rows:
                connection.execute(sa.insert(tables.tables[table]).values(row))

        FILLERS[revision](insert)
    database.close()


def _at(second: int) -> datetime:
    # SQLite keeps no time zone, and reflected columns do not know that all is in UTC.
    return NOW.replace(second=second, microsecond=0, tzinfo=None)


def _fill_0001(insert: Insert) -> None:
    """resnet@1 and @2, bert@1; `production` of resnet went 1, 2, is deployed; `old` was deployed and is removed."""
    insert("models", {"name": "resnet", "latest_version": 2, "created_at": _at(1)})
    insert("models", {"name": "bert", "latest_version": 1, "created_at": _at(3)})
    spec = [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]
    version = {
        "format": "onnx",
        "uri": "file:///a",
        "size_bytes": 7,
        "signature": {"inputs": spec, "outputs": []},
        "description": "straße",
        "user_name": "ann",
        "metrics": {"top1": 0.1, "loss": -1e300},
        "parameters": {"lr": "1e-3", "note": "1e999"},
        "tags": {"team": LONG_TEXT},
    }
    empty: dict[str, Any] = {"metrics": {}, "parameters": {}, "tags": {}}
    keys = (("resnet", 1, True), ("resnet", 2, False), ("bert", 1, True))
    for second, (model, number, recorded) in enumerate(keys, 1):
        key = {"model": model, "number": number, "recorded": recorded, "created_at": _at(second)}
        insert("versions", {**version, **({} if model == "resnet" else empty), **key, "sha256": str(number) * 64})
    _fill_0001_aliases(insert)
    _fill_0001_state(insert)


def _fill_0001_aliases(insert: Insert) -> None:
    author = {"user_name": "bob", "reason": "better"}
    moves = [("production", None, 1, 10), ("old", None, 1, 11), ("production", 1, 2, 13), ("old", 1, None, 16)]
    for alias, before, after, second in moves:
        move = {"model": "resnet", "alias": alias, "from_version": before, "to_version": after}
        insert("alias_moves", {**move, **author, "moved_at": _at(second)})
    insert("aliases", {"model": "resnet", "name": "production", "version": 2, **author, "moved_at": _at(13)})


def _fill_0001_state(insert: Insert) -> None:
    how = {"replicas": 2, "threads": 1, "memory_bytes": 0, "no_retries": False}
    changes: list[tuple[str, dict[str, Any], int]] = [
        ("production", how, 12),
        ("production", {**how, "replicas": 3}, 14),
        ("old", how, 14),
        ("old", {}, 15),
    ]
    for alias, values, second in changes:
        insert("deployment_changes", {"model": "resnet", "alias": alias, **values, "changed_at": _at(second)})
    insert("deployments", {"model": "resnet", "alias": "production", **how, "replicas": 3})
    allocation = {"cores": [0, 1], "threads": 1, "memory_bytes": 9}
    replica = {"replica_id": "r-1", "model": "resnet", "version": 1, "alias": "production", "node": "host-1"}
    insert("replicas", {**replica, **allocation, "wish": "run", "takes_over": "", "retired_in": 0})
    insert("route_table", {"id": 1, "version": 3, "content": {"version": 3, "pools": [], "routes": []}})


def _fill_0002(insert: Insert) -> None:
    """resnet@1, to which `production` points, and which two replicas serve; `staging` was deployed, and is not."""
    insert("models", {"name": "resnet", "latest_version": 1, "created_at": _at(1)})
    spec = [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]
    version = {"model": "resnet", "number": 1, "format": "onnx", "packaging": "file", "revision": 0, "source": {}}
    file = {"uri": "file:///a", "sha256": "1" * 64, "size_bytes": 7, "signature": {"inputs": spec, "outputs": []}}
    said: dict[str, Any] = {"description": "", "user_name": "ann", "metrics": {}, "parameters": {}, "tags": {}}
    insert("versions", {**version, **file, **said, "created_at": _at(1)})
    author = {"user_name": "bob", "reason": "better"}
    for alias in ("production", "staging"):
        name = {"model": "resnet", "alias": alias}
        insert(
            "alias_moves",
            {**name, "kind": "set", "from_version": None, "to_version": 1, **author, "moved_at": _at(10)},
        )
        insert("aliases", {"model": "resnet", "name": alias, "version": 1, **author, "moved_at": _at(10)})
    _fill_0002_state(insert, author)


def _fill_0002_state(insert: Insert, author: Mapping[str, str]) -> None:
    how = {"model": "resnet", "replicas": 2, "threads": 1, "memory_bytes": 9, "no_retries": True}
    facts: list[dict[str, Any]] = [{"kind": "registered", "alias": "", "details": {}}]
    for alias in ("production", "staging"):
        facts.append({"kind": "aliased", "alias": alias, "details": {"kind": "set", "from_version": None}})
        facts.append({"kind": "deployed", "alias": alias, "details": {"replicas": 2, "threads": 1}})
        insert("deployment_changes", {**how, "alias": alias, **author, "changed_at": _at(12)})
    facts.append({"kind": "undeployed", "alias": "staging", "details": {}})
    insert("deployment_changes", {"model": "resnet", "alias": "staging", **author, "changed_at": _at(13)})
    for second, fact in enumerate(facts, 14):
        known = {"model": "resnet", "version": 1, "happened_at": _at(second), "recorded": False}
        insert("lineage_facts", {**fact, **author, **known})
    insert("deployments", {**how, "alias": "production"})
    for name, core in (("r-1", 0), ("r-2", 1)):
        replica = {"replica_id": name, "model": "resnet", "version": 1, "alias": "production", "node": "host-1"}
        allocation = {"cores": [core], "threads": 1, "memory_bytes": 9}
        insert("replicas", {**replica, **allocation, "wish": "run", "takes_over": "", "retired_in": 0})
    insert("route_table", {"id": 1, "version": 3, "content": {"version": 3, "pools": [], "routes": []}})


# One for each schema that is not the newest.
FILLERS: Mapping[str, Callable[[Insert], None]] = {"0001": _fill_0001, "0002": _fill_0002}
