"""Aliases, deployments, replicas and route tables to and from rows and their JSON columns."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row

from controlplane.domain import (
    Alias,
    Allocation,
    Deployment,
    Endpoint,
    Pool,
    Replica,
    Route,
    RouteTable,
    Wish,
)

Values = dict[str, Any]


def alias_from_row(row: Row[Any]) -> Alias:
    return Alias(row.model, row.name, row.version, row.moved_at, row.user_name, row.reason)


def deployment_to_values(deployment: Deployment) -> Values:
    return asdict(deployment)


def deployment_from_row(row: Row[Any]) -> Deployment:
    return Deployment(row.model, row.alias, row.replicas, row.threads, row.memory_bytes, row.no_retries)


def replica_to_values(replica: Replica) -> Values:
    allocation = replica.allocation
    return {
        "replica_id": replica.replica_id,
        "model": replica.model,
        "version": replica.version,
        "alias": replica.alias,
        "node": replica.node,
        "cores": list(allocation.cores),
        "threads": allocation.threads,
        "memory_bytes": allocation.memory_bytes,
        "wish": replica.wish.value,
        "takes_over": replica.takes_over,
        "retired_in": replica.retired_in,
    }


def replica_from_row(row: Row[Any]) -> Replica:
    return Replica(
        replica_id=row.replica_id,
        model=row.model,
        version=row.version,
        alias=row.alias,
        node=row.node,
        allocation=Allocation(tuple(row.cores), row.threads, row.memory_bytes),
        wish=Wish(row.wish),
        takes_over=row.takes_over,
        retired_in=row.retired_in,
    )


def route_table_to_json(table: RouteTable) -> Values:
    return asdict(table)


def route_table_from_json(value: Mapping[str, Any]) -> RouteTable:
    pools = (Pool(**{**pool, "endpoints": tuple(Endpoint(**e) for e in pool["endpoints"])}) for pool in value["pools"])
    routes = (Route(**route) for route in value["routes"])
    return RouteTable(value["version"], tuple(pools), tuple(routes))
