"""Which replicas come, which leave, and how far each that leaves has got."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from controlplane.domain import ClusterSnapshot, DeploymentKey, Plan, Replica, StoredState, Wish
from controlplane.policy import departures, rollout
from controlplane.policy.demand import compute_demand
from controlplane.policy.observations import Observations, find_drained, is_node_lost
from controlplane.policy.placement import Ledger, NoPlace, Place, choose_place
from controlplane.policy.wording import list_nodes, plural


@dataclass(frozen=True)
class LifecyclePlan:
    plan: Plan
    # How many replicas of a deployment have no place, and why, in a sentence.
    no_place: Mapping[DeploymentKey, NoPlace] = field(default_factory=dict)


def compute_plan(snapshot: ClusterSnapshot, now: datetime) -> LifecyclePlan:
    """One step towards what is wished; a plan that was applied and obeyed leads to an empty one."""
    stored = snapshot.stored
    lost = {name for name in {r.node for r in stored.replicas.values()} if is_node_lost(snapshot, name, now)}
    gone = {
        replica.replica_id
        for replica in stored.replicas.values()
        if departures.is_gone(snapshot, replica) or (replica.wish is Wish.STOP and replica.node in lost)
    }
    kept = [stored.replicas[name] for name in sorted(stored.replicas) if name not in gone]
    stopped = [replace(r, wish=Wish.STOP) for r in kept if departures.may_stop(snapshot, r, now)]
    draft = _Draft(snapshot, kept, lost, now)
    for key in sorted(stored.deployments):
        draft.roll_out(key)
    draft.retire_undeployed()
    plan = Plan(tuple(draft.created), (*stopped, *draft.retired), tuple(sorted(gone)))
    return LifecyclePlan(plan, draft.no_place)


class _Draft:
    """The plan while it is made: what one deployment is given, the next no longer finds free."""

    def __init__(
        self, snapshot: ClusterSnapshot, kept: list[Replica], lost_nodes: Collection[str], now: datetime
    ) -> None:
        self._now = now
        self._stored = snapshot.stored
        self._drained = find_drained(snapshot.stored)
        self._lost_nodes = lost_nodes
        self._nodes = snapshot.nodes
        self._served = rollout.find_served_versions(snapshot.stored.route_table)
        self._observations = Observations(snapshot)
        self._ledger = Ledger(snapshot.nodes.values(), kept, snapshot.stored.scheduling)
        self._running: dict[DeploymentKey, list[Replica]] = defaultdict(list)
        for replica in kept:
            if replica.wish is Wish.RUN:
                self._running[replica.deployment].append(replica)
        self._present = {replica.replica_id for replica in kept}
        self._succeeded = {replica.takes_over for replica in kept if replica.takes_over}
        self.created: list[Replica] = []
        self.retired: list[Replica] = []
        self.no_place: dict[DeploymentKey, NoPlace] = {}

    def roll_out(self, key: DeploymentKey) -> None:
        alias = self._stored.aliases.get(key)
        if alias is None:
            return  # the registry refuses to delete the alias of a deployment: nothing to decide by
        deployment = self._stored.deployments[key]
        version = self._stored.versions[(key.model, alias.version)]
        target = rollout.Target(deployment, version, compute_demand(deployment, version))
        running = sorted(self._running[key], key=replica_number)
        current = [replica for replica in running if rollout.is_current(replica, target, self._nodes)]
        old = [replica for replica in running if replica not in current]
        # They are replaced, and serve until then: perhaps only the agent of their node is gone.
        lost = [replica for replica in current if self._cannot_stay(replica)]
        new = [replica for replica in current if replica not in lost]
        for placed in range(missing := max(0, deployment.replicas - len(new))):
            if reason := self._create(target, [*old, *lost], missing - placed):
                is_for_drain = bool(lost) and not old and all(map(self._serves_until_moved, lost))
                self.no_place[key] = replace(reason, is_for_drain=is_for_drain)
                break
        leaving = rollout.choose_leaving(
            deployment.replicas,
            new,
            old,
            lost,
            served_version=self._served.get(key, 0),
            observations=self._observations,
            is_stuck=key in self.no_place,
        )
        self.retired += [replace(replica, wish=Wish.RETIRE) for replica in leaving]

    def _cannot_stay(self, replica: Replica) -> bool:
        return replica.node in self._drained or not self._serves_until_moved(replica)

    def _serves_until_moved(self, replica: Replica) -> bool:
        """Whether what it is on is as good as any."""
        return replica.node not in self._lost_nodes and not rollout.is_on_faulty_gpu(replica, self._nodes)

    def _create(self, target: rollout.Target, old: list[Replica], missing: int) -> NoPlace | None:
        """Why there is no place for it, where there is none."""
        place = choose_place(target.demand, self._ledger, [r for r in old if self._can_hand_over(r)])
        if isinstance(place, NoPlace):
            have = "has" if missing == 1 else "have"
            kind = "new replica" if old else "replica"
            share = f"{missing} of {plural(target.deployment.replicas, kind)} {have} no place"
            left = sorted({replica.node for replica in old} & self._drained)
            why = f" while {list_nodes(left)} {'is' if len(left) == 1 else 'are'} being drained" if left else ""
            return replace(place, reason=f"{share}{why}: {place.reason}")
        replica = self._place(target, place)
        self._ledger.add(replica)
        self._succeeded.add(place.takes_over)
        self.created.append(replica)
        return None

    def _can_hand_over(self, replica: Replica) -> bool:
        """One successor at a time, and only of one that shares with nobody itself: else a core is given away twice."""
        return replica.replica_id not in self._succeeded and replica.takes_over not in self._present

    def _place(self, target: rollout.Target, place: Place) -> Replica:
        number = self._stored.next_replica_number + len(self.created)
        deployment, version = target.deployment, target.version.number
        return Replica(
            replica_id=f"{deployment.model}-{deployment.alias}-v{version}-{number}",
            model=deployment.model,
            version=version,
            alias=deployment.alias,
            node=place.node,
            allocation=place.allocation,
            takes_over=place.takes_over,
            serving=deployment.serving,
            created_at=self._now,
        )

    def retire_undeployed(self) -> None:
        for key in sorted(self._running.keys() - self._stored.deployments.keys()):
            self.retired += [replace(replica, wish=Wish.RETIRE) for replica in self._running[key]]


def replica_number(replica: Replica) -> int:
    """The number that its id ends with: replicas with a greater one are newer."""
    return int(replica.replica_id.rpartition("-")[2])


def compute_state_after(stored: StoredState, plan: Plan) -> StoredState:
    """`stored` with `plan` carried out; the revision stays, since only the store gives a new one."""
    changed = {replica.replica_id: replica for replica in (*plan.create, *plan.update)}
    kept = {name: replica for name, replica in stored.replicas.items() if name not in plan.delete}
    number = stored.next_replica_number + len(plan.create)
    return replace(stored, replicas={**kept, **changed}, next_replica_number=number)
