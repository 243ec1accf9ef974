"""Deployments, placed replicas and the route table in SQL: implements controlplane.registry.store.StateStore."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from controlplane.domain import (
    Alias,
    Author,
    Deployment,
    DeploymentKey,
    FactKind,
    NodeScheduling,
    Plan,
    RouteTable,
    Schedulability,
    StoredState,
    Version,
)
from controlplane.registry.sql.database import Database
from controlplane.registry.sql.fact_journal import add_deployed, add_fact
from controlplane.registry.sql.lookups import (
    advance_revision,
    find_alias,
    find_model,
    is_deployment,
    read_deployment,
)
from controlplane.registry.sql.rows import (
    alias_from_row,
    deployment_from_row,
    deployment_to_values,
    replica_from_row,
    replica_to_values,
    route_table_from_json,
    route_table_to_json,
    scheduling_from_row,
    scheduling_to_values,
)
from controlplane.registry.sql.schema import (
    aliases,
    deployment_changes,
    deployments,
    nodes,
    replicas,
    route_table,
    versions,
    yard,
)
from controlplane.registry.sql.version_rows import version_from_row
from modelyard.errors import AbortedError, NotFoundError


class SqlStateStore:
    """The protocol's docstrings hold; every call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put_deployment(self, deployment: Deployment, author: Author) -> None:
        with self._database.writing() as connection:
            alias = find_alias(connection, deployment.model, deployment.alias)
            before = read_deployment(connection, deployment.key)
            if before == deployment:
                return
            add_deployed(connection, deployment, alias.version, author)
            _put(connection, deployment, exists=before is not None)
            _keep_change(connection, author, deployment_to_values(deployment))
            advance_revision(connection)

    def get_deployment(self, key: DeploymentKey) -> Deployment:
        with self._database.reading() as connection:
            return _find_deployment(connection, key)

    def delete_deployment(self, key: DeploymentKey, author: Author) -> None:
        with self._database.writing() as connection:
            _find_deployment(connection, key)
            of = (key.model, find_alias(connection, key.model, key.alias).version)
            add_fact(connection, FactKind.UNDEPLOYED, of, author, alias=key.alias)
            connection.execute(sa.delete(deployments).where(is_deployment(key)))
            _keep_change(connection, author, {"model": key.model, "alias": key.alias})
            advance_revision(connection)

    def put_scheduling(self, scheduling: NodeScheduling) -> None:
        with self._database.writing() as connection:
            connection.execute(sa.delete(nodes).where(nodes.c.name == scheduling.node))
            if scheduling.state is not Schedulability.OPEN:
                connection.execute(sa.insert(nodes).values(scheduling_to_values(scheduling)))
            advance_revision(connection)

    def load_state(self) -> StoredState:
        with self._database.reading() as connection:
            counters = connection.execute(sa.select(yard)).one()
            placed = [replica_from_row(row) for row in connection.execute(sa.select(replicas))]
            return StoredState(
                revision=counters.revision,
                deployments=_load_deployments(connection),
                aliases=_load_aliases(connection),
                replicas={replica.replica_id: replica for replica in placed},
                versions=_load_versions(connection),
                next_replica_number=counters.next_replica_number,
                route_table=_load_route_table(connection),
                scheduling=_load_scheduling(connection),
            )

    def apply_plan(self, plan: Plan, expected_revision: int) -> int:
        with self._database.writing() as connection:
            revision: int = connection.execute(sa.select(yard.c.revision)).scalar_one()
            if revision != expected_revision:
                raise AbortedError(
                    f"the plan was made for revision {expected_revision}, the yard is at {revision}: plan again"
                )
            if plan.is_empty():
                return revision
            _apply_changes(connection, plan)
            return advance_revision(connection, new_replicas=len(plan.create))

    def store_route_table(self, table: RouteTable, retired: Mapping[str, int]) -> None:
        with self._database.writing() as connection:
            _keep_route_table(connection, table)
            for replica_id, left_in in retired.items():
                connection.execute(_update_replica(replica_id).values(retired_in=left_in))
            if retired:
                advance_revision(connection)


def _find_deployment(connection: sa.Connection, key: DeploymentKey) -> Deployment:
    deployment = read_deployment(connection, key)
    if deployment is None:
        find_model(connection, key.model)
        of_model = sa.select(deployments.c.alias).where(deployments.c.model == key.model).order_by(deployments.c.alias)
        others = connection.scalars(of_model).all()
        have = f"only by {', '.join(others)}" if others else "nor by any other"
        raise NotFoundError(f"{key.model!r} is not deployed by its alias {key.alias!r}, {have}")
    return deployment


def _put(connection: sa.Connection, deployment: Deployment, exists: bool) -> None:
    values = deployment_to_values(deployment)
    if exists:
        connection.execute(sa.update(deployments).where(is_deployment(deployment.key)).values(values))
    else:
        connection.execute(sa.insert(deployments).values(values))


def _keep_change(connection: sa.Connection, author: Author, values: Mapping[str, Any]) -> None:
    """`values`: of the deployment; only its key where it was deleted."""
    change = {"changed_at": author.at, "user_name": author.user, "reason": author.reason, **values}
    connection.execute(sa.insert(deployment_changes).values(change))


def _load_deployments(connection: sa.Connection) -> dict[DeploymentKey, Deployment]:
    found = (deployment_from_row(row) for row in connection.execute(sa.select(deployments)))
    return {deployment.key: deployment for deployment in found}


def _load_aliases(connection: sa.Connection) -> dict[DeploymentKey, Alias]:
    of_deployed = sa.select(aliases).where(aliases.c.model.in_(sa.select(deployments.c.model)))
    found = (alias_from_row(row) for row in connection.execute(of_deployed))
    return {DeploymentKey(alias.model, alias.name): alias for alias in found}


def _load_versions(connection: sa.Connection) -> dict[tuple[str, int], Version]:
    """Those that a replica has, or that the alias of a deployment points to."""
    deployed = sa.select(aliases.c.model, aliases.c.version).join(
        deployments, (deployments.c.model == aliases.c.model) & (deployments.c.alias == aliases.c.name)
    )
    wanted = deployed.union(sa.select(replicas.c.model, replicas.c.version)).subquery()
    query = sa.select(versions).join(
        wanted, (versions.c.model == wanted.c.model) & (versions.c.number == wanted.c.version)
    )
    found = (version_from_row(row) for row in connection.execute(query))
    return {(version.model, version.number): version for version in found}


def _load_scheduling(connection: sa.Connection) -> dict[str, NodeScheduling]:
    found = (scheduling_from_row(row) for row in connection.execute(sa.select(nodes)))
    return {scheduling.node: scheduling for scheduling in found}


def _load_route_table(connection: sa.Connection) -> RouteTable:
    content = connection.scalar(sa.select(route_table.c.content))
    return RouteTable() if content is None else route_table_from_json(content)


def _apply_changes(connection: sa.Connection, plan: Plan) -> None:
    if plan.delete:
        ids = [{"gone": replica_id} for replica_id in plan.delete]
        connection.execute(sa.delete(replicas).where(replicas.c.replica_id == sa.bindparam("gone")), ids)
    for replica in plan.update:
        changed = connection.execute(_update_replica(replica.replica_id).values(replica_to_values(replica)))
        if changed.rowcount != 1:
            raise AbortedError(f"replica {replica.replica_id!r} is not there any more: plan again")
    if plan.create:
        connection.execute(sa.insert(replicas), [replica_to_values(replica) for replica in plan.create])


def _update_replica(replica_id: str) -> sa.Update:
    return sa.update(replicas).where(replicas.c.replica_id == replica_id)


def _keep_route_table(connection: sa.Connection, table: RouteTable) -> None:
    before = _load_route_table(connection)
    if table == before:
        return
    if table.version <= before.version:
        raise AbortedError(
            f"route table {before.version} is kept already, so {table.version} came too late: make a new one"
        )
    values = {"version": table.version, "content": route_table_to_json(table)}
    if connection.execute(sa.update(route_table).values(values)).rowcount == 0:
        connection.execute(sa.insert(route_table).values(id=1, **values))
