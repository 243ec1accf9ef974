"""What clients may name and which replicas answer: the route table, whole, as a function of the snapshot."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from controlplane.domain import ClusterSnapshot, DeploymentKey, ObservedReplica, Pool, Replica, Route, RouteTable, Wish
from controlplane.policy.observations import Observations
from controlplane.policy.rollout import find_served_versions, pool_name
from controlplane.policy.route_reasons import explain_alias, explain_no_production, explain_version
from modelyard.resource_names import model_id

PRODUCTION = "production"
T = TypeVar("T")


def compute_route_table(snapshot: ClusterSnapshot, previous: RouteTable) -> RouteTable:
    """`previous` itself where nothing changed; else the table after it."""
    pools = _compute_pools(snapshot)
    routes = _Routes(snapshot, previous, pools).compute()
    table = RouteTable(previous.version, tuple(pools[name] for name in sorted(pools)), routes)
    # A router may be ahead of a database that was restored from a backup: only a greater number makes it follow.
    ahead = max((router.applied_version for router in snapshot.routers.values()), default=0)
    if table == previous and previous.version and ahead <= previous.version:
        return previous
    return replace(table, version=max(previous.version, ahead) + 1)


def _compute_pools(snapshot: ClusterSnapshot) -> dict[str, Pool]:
    observations = Observations(snapshot)
    members: dict[tuple[DeploymentKey, int], list[Replica]] = defaultdict(list)
    for replica in snapshot.stored.replicas.values():
        if replica.wish is Wish.RUN and observations.is_ready(replica):
            members[(replica.deployment, replica.version)].append(replica)
    return {
        pool_name(key, version): _compute_pool(snapshot, observations, key, version, replicas)
        for (key, version), replicas in members.items()
    }


def _compute_pool(
    snapshot: ClusterSnapshot, observations: Observations, key: DeploymentKey, version: int, replicas: list[Replica]
) -> Pool:
    endpoints = (observations.endpoint_of(replica) for replica in sorted(replicas, key=lambda r: r.replica_id))
    deployment = snapshot.stored.deployments.get(key)
    return Pool(
        name=pool_name(key, version),
        model=key.model,
        version=version,
        endpoints=tuple(endpoint for endpoint in endpoints if endpoint),
        no_retries=deployment.no_retries if deployment else False,
    )


class _Routes:
    def __init__(self, snapshot: ClusterSnapshot, previous: RouteTable, pools: Mapping[str, Pool]) -> None:
        self._stored = snapshot.stored
        self._observations = Observations(snapshot)
        self._served = find_served_versions(previous)
        self._pools = pools
        # `production` first, then by name: where several serve the same version, that one answers.
        by_precedence = sorted(self._stored.deployments, key=lambda key: (key.alias != PRODUCTION, key.alias))
        self._keys = _group_by_model((key.model, key) for key in by_precedence)
        self._aliases = _group_by_model((key.model, key.alias) for key in sorted(self._stored.aliases))
        running = [replica for replica in self._stored.replicas.values() if replica.wish is Wish.RUN]
        self._replicas = _group_by_model((replica.model, replica) for replica in running)

    def compute(self) -> tuple[Route, ...]:
        routes: list[Route] = []
        for model in self._keys:
            aliases = {alias: self._route_alias(DeploymentKey(model, alias)) for alias in self._aliases[model]}
            routes += [self._route_model(model, aliases), *aliases.values(), *self._route_versions(model)]
        return tuple(sorted(routes, key=lambda route: route.key))

    def _route_model(self, model: str, aliases: Mapping[str, Route]) -> Route:
        if PRODUCTION in aliases:
            return replace(aliases[PRODUCTION], key=model)
        return Route(model, model, 0, "", explain_no_production(model, sorted(aliases), PRODUCTION))

    def _route_alias(self, key: DeploymentKey) -> Route:
        target = self._stored.aliases[key].version
        name = f"{key.model}@{key.alias}"
        if pool := self._choose_own_pool(key, target) or self._find_pool(key.model, target):
            return Route(name, key.model, pool.version, pool.name)
        seen = self._see(key.model, target)
        return Route(name, key.model, 0, "", explain_alias(key, target, self._stored.deployments.get(key), seen))

    def _choose_own_pool(self, key: DeploymentKey, target: int) -> Pool | None:
        """The target version's, once enough of it is ready; until then what served last; else what there is."""
        deployment = self._stored.deployments.get(key)
        if deployment is None:
            return None
        own = self._pools.get(pool_name(key, target))
        if own is not None and len(own.endpoints) >= deployment.replicas:
            return own
        served = self._pools.get(pool_name(key, self._served.get(key, 0)))
        return served or own or self._find_newest(key)

    def _find_newest(self, key: DeploymentKey) -> Pool | None:
        versions = {replica.version for replica in self._replicas[key.model] if replica.deployment == key}
        pools = (self._pools.get(pool_name(key, version)) for version in sorted(versions, reverse=True))
        return next((pool for pool in pools if pool), None)

    def _find_pool(self, model: str, version: int) -> Pool | None:
        pools = (self._pools.get(pool_name(key, version)) for key in self._keys[model])
        return next((pool for pool in pools if pool), None)

    def _route_versions(self, model: str) -> list[Route]:
        running = {replica.version for replica in self._replicas[model]}
        served = {version for version in running if self._find_pool(model, version)}
        targeted = {self._stored.aliases[key].version for key in self._keys[model] if key in self._stored.aliases}
        return [self._route_version(model, version) for version in sorted(served | targeted)]

    def _route_version(self, model: str, version: int) -> Route:
        name = model_id(model, version)
        if pool := self._find_pool(model, version):
            return Route(name, model, version, pool.name)
        return Route(name, model, 0, "", explain_version(model, version, self._see(model, version)))

    def _see(self, model: str, version: int) -> list[ObservedReplica]:
        replicas = (replica for replica in self._replicas[model] if replica.version == version)
        return [self._observations.sighting_of(replica) for replica in replicas]


def _group_by_model(pairs: Iterable[tuple[str, T]]) -> Mapping[str, list[T]]:
    groups: dict[str, list[T]] = defaultdict(list)
    for model, value in pairs:
        groups[model].append(value)
    return groups
