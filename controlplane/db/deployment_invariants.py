"""What must be so of deployments, of nodes that a person cordoned, and of replicas that were placed."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from controlplane.db.invariant import RESTORE, Invariant, newest_of, of_version
from controlplane.domain import Schedulability
from controlplane.registry.sql.schema import aliases, deployment_changes, deployments, nodes, replicas, versions
from modelyard.resource_names import model_id

# With what null stands for in a change of before there was such a column.
_WISHED: Mapping[str, Any] = {
    "replicas": None,
    "threads": None,
    "memory_bytes": None,
    "no_retries": None,
    "gpu_percent": 0,
    "gpu_memory_bytes": 0,
    "runtime": "",
    "max_batch_rows": 0,
    "max_batch_wait_us": 0,
}
_STATES = [state.value for state in Schedulability if state is not Schedulability.OPEN]


def _deployments_have_aliases() -> Invariant:
    of_alias = (aliases.c.model == deployments.c.model) & (aliases.c.name == deployments.c.alias)
    query = (
        sa.select(deployments.c.model, deployments.c.alias)
        .select_from(deployments.outerjoin(aliases, of_alias))
        .where(aliases.c.name.is_(None))
    )
    return Invariant(
        "deployments",
        query,
        lambda row: (
            f"{row.model}@{row.alias} is deployed, and there is no such alias: "
            f"modelyard alias set {row.model} {row.alias} VERSION"
        ),
    )


def _deployments_are_as_they_were_changed() -> Invariant:
    last = newest_of(deployment_changes)
    is_its = (last.c.model == deployments.c.model) & (last.c.alias == deployments.c.alias)
    changed = (
        sa.select(deployments.c.model, deployments.c.alias)
        .select_from(deployments.outerjoin(last, is_its))
        .where(sa.or_(*(_is_other(last.c[name], deployments.c[name], old) for name, old in _WISHED.items())))
    )
    lost = (
        sa.select(last.c.model, last.c.alias)
        .select_from(last.outerjoin(deployments, is_its))
        .where(deployments.c.model.is_(None) & last.c.replicas.is_not(None))
    )
    query = changed.union_all(lost)
    return Invariant(
        "deployments",
        query,
        lambda row: (
            f"the deployment of {row.model}@{row.alias} is not what its last change made it: "
            f"modelyard deploy {row.model} --alias {row.alias}, with what you want"
        ),
    )


def _is_other(changed: sa.ColumnElement[Any], now: sa.ColumnElement[Any], old: Any) -> sa.ColumnElement[bool]:
    return now.is_distinct_from(changed if old is None else sa.func.coalesce(changed, old))


def _nodes_have_known_states() -> Invariant:
    query = sa.select(nodes.c.name, nodes.c.state).where(nodes.c.state.not_in(_STATES))
    return Invariant(
        "nodes",
        query,
        lambda row: f"node {row.name} is {row.state!r}, wanted {' or '.join(_STATES)}: {RESTORE}",
    )


def _replicas_have_versions() -> Invariant:
    query = (
        sa.select(replicas.c.replica_id, replicas.c.model, replicas.c.version)
        .select_from(replicas.outerjoin(versions, of_version(replicas, replicas.c.version)))
        .where(versions.c.number.is_(None))
    )
    return Invariant(
        "replicas",
        query,
        lambda row: f"replica {row.replica_id} is of {model_id(row.model, row.version)}, which is not there: {RESTORE}",
    )


DEPLOYMENT_INVARIANTS = (
    _deployments_have_aliases(),
    _deployments_are_as_they_were_changed(),
    _nodes_have_known_states(),
    _replicas_have_versions(),
)
