"""Aliases, deployments, replicas, nodes and route tables to and from rows and their JSON columns."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row

from controlplane.domain import (
    Alias,
    Allocation,
    Author,
    Deployment,
    Endpoint,
    GpuShare,
    NodeScheduling,
    Pool,
    Replica,
    Route,
    RouteTable,
    Schedulability,
    Serving,
    Wish,
)

Values = dict[str, Any]

_NO_GPU = GpuShare("", 0, 0)


def alias_from_row(row: Row[Any]) -> Alias:
    return Alias(row.model, row.name, row.version, row.moved_at, row.user_name, row.reason)


def deployment_to_values(deployment: Deployment) -> Values:
    values = asdict(deployment)
    serving = values.pop("serving")
    return {**values, **serving}


def deployment_from_row(row: Row[Any]) -> Deployment:
    return Deployment(
        model=row.model,
        alias=row.alias,
        replicas=row.replicas,
        threads=row.threads,
        memory_bytes=row.memory_bytes,
        no_retries=row.no_retries,
        gpu_percent=row.gpu_percent,
        gpu_memory_bytes=row.gpu_memory_bytes,
        serving=_serving_from_row(row),
    )


def _serving_from_row(row: Row[Any]) -> Serving:
    return Serving(row.runtime, row.max_batch_rows, row.max_batch_wait_us)


def replica_to_values(replica: Replica) -> Values:
    allocation = replica.allocation
    gpu = allocation.gpu or _NO_GPU
    return {
        "replica_id": replica.replica_id,
        "model": replica.model,
        "version": replica.version,
        "alias": replica.alias,
        "node": replica.node,
        "cores": list(allocation.cores),
        "threads": allocation.threads,
        "memory_bytes": allocation.memory_bytes,
        "is_memory_estimated": allocation.is_memory_estimated,
        "gpu_uuid": gpu.uuid,
        "gpu_percent": gpu.percent,
        "gpu_memory_bytes": gpu.memory_bytes,
        "wish": replica.wish.value,
        "takes_over": replica.takes_over,
        "retired_in": replica.retired_in,
        "created_at": replica.created_at,
        **asdict(replica.serving),
    }


def replica_from_row(row: Row[Any]) -> Replica:
    gpu = GpuShare(row.gpu_uuid, row.gpu_percent, row.gpu_memory_bytes)
    return Replica(
        replica_id=row.replica_id,
        model=row.model,
        version=row.version,
        alias=row.alias,
        node=row.node,
        allocation=Allocation(
            tuple(row.cores), row.threads, row.memory_bytes, gpu if gpu.uuid else None, row.is_memory_estimated
        ),
        wish=Wish(row.wish),
        takes_over=row.takes_over,
        retired_in=row.retired_in,
        serving=_serving_from_row(row),
        created_at=row.created_at,
    )


def scheduling_to_values(scheduling: NodeScheduling) -> Values:
    author = scheduling.author
    return {
        "name": scheduling.node,
        "state": scheduling.state.value,
        "user_name": author.user,
        "reason": author.reason,
        "changed_at": author.at,
    }


def scheduling_from_row(row: Row[Any]) -> NodeScheduling:
    return NodeScheduling(row.name, Schedulability(row.state), Author(row.changed_at, row.user_name, row.reason))


def route_table_to_json(table: RouteTable) -> Values:
    return asdict(table)


def route_table_from_json(value: Mapping[str, Any]) -> RouteTable:
    pools = (Pool(**{**pool, "endpoints": tuple(Endpoint(**e) for e in pool["endpoints"])}) for pool in value["pools"])
    routes = (Route(**route) for route in value["routes"])
    return RouteTable(value["version"], tuple(pools), tuple(routes))
