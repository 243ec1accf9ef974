"""How far each deployment is, in a state and a sentence."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from controlplane.domain import (
    ClusterSnapshot,
    Deployment,
    DeploymentKey,
    DeploymentState,
    DeploymentStatus,
    Replica,
    ReplicaState,
    RouteTable,
    Wish,
)
from controlplane.policy.demand import compute_demand
from controlplane.policy.observations import Observations, find_drained, is_starting
from controlplane.policy.placement import NoPlace
from controlplane.policy.rollout import Target, is_current
from controlplane.policy.wording import deploy_command, find_trouble, list_nodes, list_states, plural


@dataclass(frozen=True)
class _Facts:
    """What the status of one deployment depends on."""

    deployment: Deployment
    target: int
    # The version that the alias is routed to; 0: nothing.
    serving: int
    running: Sequence[Replica]
    observations: Observations
    # Why some have no place, whether that may pass by itself, and whether all that it holds up is a drain.
    no_place: str
    may_pass: bool
    holds_up_a_drain: bool
    # Those of `running` on nodes that are being drained.
    moving: Sequence[Replica] = ()
    # Those of `running` that are as the deployment wishes.
    current: Sequence[Replica] = ()

    def count_ready(self, version: int) -> int:
        """Those that said so to this controller: what was routed before its restart may be gone by now."""
        running = (replica for replica in self.running if replica.version == version)
        return sum(self.observations.is_ready(r) and self.observations.is_heard_of(r) for r in running)

    @property
    def is_done(self) -> bool:
        wanted, ready = self.deployment.replicas, self.count_ready(self.target)
        served = self.serving == self.target or not wanted
        is_as_wished = not self.no_place and ready == wanted == len(self.running)
        return served and (is_as_wished or self.is_stuck_where_it_serves)

    @property
    def is_stuck_where_it_serves(self) -> bool:
        """It cannot leave a node that is drained. That is for whoever drains to mend; who deployed it has it."""
        return self.holds_up_a_drain and self.count_ready(self.target) >= self.deployment.replicas


def compute_statuses(
    snapshot: ClusterSnapshot, table: RouteTable, no_place: Mapping[DeploymentKey, NoPlace], now: datetime
) -> dict[DeploymentKey, DeploymentStatus]:
    """`snapshot` with the plan carried out, the `table` made of it, and why replicas could not be placed."""
    stored, observations = snapshot.stored, Observations(snapshot)
    serving = {route.key: route.version for route in table.routes}
    running: dict[DeploymentKey, list[Replica]] = defaultdict(list)
    for replica in stored.replicas.values():
        if replica.wish is Wish.RUN:
            running[replica.deployment].append(replica)
    starting, leaving = is_starting(snapshot, now), any(r.wish is not Wish.RUN for r in stored.replicas.values())
    drained = find_drained(stored)
    statuses = {}
    for key, deployment in stored.deployments.items():
        alias = stored.aliases.get(key)
        target, served = alias.version if alias else 0, serving.get(f"{key.model}@{key.alias}", 0)
        place = no_place.get(key, NoPlace(""))
        may_pass = starting or (leaving and place.is_for_want_of_room)
        moving = [replica for replica in running[key] if replica.node in drained]
        current = _choose_current(snapshot, deployment, target, running[key])
        facts = _Facts(
            *(deployment, target, served, running[key], observations),
            *(place.reason, may_pass, place.is_for_drain, moving, current),
        )
        statuses[key] = _compute_status(facts)
    return statuses


def _choose_current(
    snapshot: ClusterSnapshot, deployment: Deployment, target: int, running: Sequence[Replica]
) -> list[Replica]:
    version = snapshot.stored.versions.get((deployment.model, target))
    if version is None:
        return []
    wished = Target(deployment, version, compute_demand(deployment, version))
    return [replica for replica in running if is_current(replica, wished, snapshot.nodes)]


def _compute_status(facts: _Facts) -> DeploymentStatus:
    ready = facts.count_ready(facts.serving)
    return DeploymentStatus(_compute_state(facts), facts.target, facts.serving, ready, _compute_message(facts))


def _compute_state(facts: _Facts) -> DeploymentState:
    if facts.is_done:
        return DeploymentState.READY
    if _find_target_trouble(facts) or (facts.no_place and not facts.may_pass) or not facts.target:
        return DeploymentState.DEGRADED
    return DeploymentState.PROGRESSING if facts.serving else DeploymentState.PENDING


def _compute_message(facts: _Facts) -> str:
    deployment = facts.deployment
    if not facts.target:
        command = f"`modelyard alias set {deployment.model} {deployment.alias} 1`"
        return f"the alias {deployment.alias} is gone; set it with {command}"
    if facts.is_done and not deployment.replicas:
        return f"no replicas are wanted; {deploy_command(deployment, 1)} serves it"
    if facts.is_done:
        served = f"version {facts.target} is served by {plural(deployment.replicas, 'replica')}"
        return f"{served}; {facts.no_place}" if facts.no_place else served
    parts = [_describe_target(facts), facts.no_place or _describe_moving(facts), _describe_leaving(facts)]
    return "; ".join(part for part in parts if part)


def _describe_target(facts: _Facts) -> str:
    wanted = plural(facts.deployment.replicas, "replica")
    running = [replica for replica in facts.running if replica.version == facts.target]
    heard_of = [facts.observations.sighting_of(r) for r in running if facts.observations.is_heard_of(r)]
    states = list_states(seen for seen in heard_of if seen.state is not ReplicaState.READY)
    if silent := len(running) - len(heard_of):
        states.append(f"{silent} not heard of since the controller started")
    trouble = _find_target_trouble(facts)
    # There are more for a moment, while some move to another node.
    ready = min(facts.count_ready(facts.target), facts.deployment.replicas)
    counts = ", ".join([f"{ready} of {wanted} ready", *states])
    return f"version {facts.target}: {counts}" + (f": {trouble}" if trouble else "")


def _describe_moving(facts: _Facts) -> str:
    if not facts.moving:
        return ""
    nodes = list_nodes(sorted({replica.node for replica in facts.moving}))
    return f"{plural(len(facts.moving), 'replica')} to leave {nodes} once others are ready"


def _describe_leaving(facts: _Facts) -> str:
    if facts.serving in (0, facts.target):
        return ""
    lasting = _find_target_trouble(facts) or (facts.no_place and not facts.may_pass)
    return f"version {facts.serving} {'goes on serving' if lasting else 'serves until then'}"


def _find_target_trouble(facts: _Facts) -> str:
    """Of those that are as wished, where there are such: what ails one that they replace may be what was mended."""
    asked = facts.current or [replica for replica in facts.running if replica.version == facts.target]
    return find_trouble(facts.observations.sighting_of(replica) for replica in asked)
