"""What must be so of deployments and of replicas that were placed."""

import sqlalchemy as sa

from controlplane.db.invariant import RESTORE, Invariant, newest_of, of_version
from controlplane.registry.sql.schema import aliases, deployment_changes, deployments, replicas, versions
from modelyard.resource_names import model_id

_WISHED = ("replicas", "threads", "memory_bytes", "no_retries")


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
        .where(sa.or_(*(deployments.c[name].is_distinct_from(last.c[name]) for name in _WISHED)))
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
    _replicas_have_versions(),
)
