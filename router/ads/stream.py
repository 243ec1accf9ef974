"""What one Envoy is sent, and when. No I/O: requests in, responses out.

Every snapshot is pushed in one sequence:

    clusters, old and new -> endpoints -> listener -> routes -> clusters, new only

so no route ever names a cluster without endpoints, and no cluster goes while a route still names it. Each step but the
first is acknowledged before the next (Envoy acknowledges clusters only when it has their endpoints), and sends only
what Envoy does not have. An Envoy that already serves, and now meets this server for the first time (the router's
Python part has started again), tells its clusters by the endpoints it asks for; they stay until its routes are ours.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, auto
from itertools import count

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2

from router.resources import compute_cluster
from router.xds.types import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Resources

Named = Mapping[str, any_pb2.Any]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """`sequence` grows by one with each snapshot of this process; table versions may start again with a new yard."""

    sequence: int
    table_version: int
    resources: Resources

    @property
    def is_initial(self) -> bool:
        """Whether it stands in for a table while there is none."""
        return self.sequence == 0


@dataclass(frozen=True)
class Rejection:
    """Envoy's own words about a snapshot that it did not take."""

    snapshot: Snapshot
    type_url: str
    message: str


class Step(IntEnum):
    CLUSTERS = auto()
    ENDPOINTS = auto()
    LISTENER = auto()
    ROUTES = auto()
    DROP_CLUSTERS = auto()
    DONE = auto()


@dataclass
class _Subscription:
    """What Envoy asked for and has of one type."""

    names: frozenset[str] = frozenset()
    nonce: str = ""
    sent: dict[str, any_pb2.Any] = field(default_factory=dict)
    accepted: dict[str, any_pb2.Any] = field(default_factory=dict)
    last_response: Named = field(default_factory=dict)
    is_awaited: bool = False  # the last response is neither accepted nor refused yet


class AdsStream:
    """One stream of one Envoy. After each call that changes something, send all `next_response` until it gives None."""

    def __init__(self, target: Snapshot) -> None:
        self.node_id = ""
        self.applied: Snapshot | None = None
        self._goal = self._target = target
        self._is_rejected = False
        self._step = Step.CLUSTERS
        self._subscriptions: dict[str, _Subscription] = {}
        self._nonces = count(1)
        self._is_resuming = False
        self._has_routes = False  # of its own, from before this stream

    @property
    def is_settling(self) -> bool:
        """Whether the first push still waits to hear which clusters Envoy has."""
        return self._is_resuming and not {ENDPOINTS, ROUTES} <= self._subscriptions.keys()

    def settle(self) -> None:
        """Pushes with what is known: an Envoy that has no endpoints or no routes yet never asks for them."""
        self._is_resuming = False

    def has(self, snapshot: Snapshot) -> bool:
        """Whether Envoy has all that `snapshot` wants of it."""
        return self.applied is snapshot or self._keeps_its_own(snapshot)

    def set_target(self, snapshot: Snapshot) -> None:
        """What Envoy should have. A push under way ends first, so that its order holds."""
        self._target = snapshot

    def handle_request(self, request: discovery_pb2.DiscoveryRequest) -> Rejection | None:
        """A rejection ends the push: nothing more is sent before there is another target."""
        self.node_id = request.node.id or self.node_id
        if request.type_url not in self._subscriptions:
            self._is_resuming |= request.type_url == CLUSTER and bool(request.version_info)
            self._has_routes |= request.type_url == ROUTES and bool(request.version_info)
            self._subscriptions[request.type_url] = _Subscription()
        subscription = self._subscriptions[request.type_url]
        if request.response_nonce != subscription.nonce and subscription.nonce:
            return None  # about an older response; Envoy says the same again about the last
        self._set_names(subscription, frozenset(request.resource_names))
        if subscription.is_awaited:
            return self._handle_verdict(request, subscription)
        return None

    def next_response(self) -> discovery_pb2.DiscoveryResponse | None:
        """The next response to send; None while there is nothing to say before Envoy speaks."""
        if self.is_settling or self._keeps_its_own(self._target):
            return None
        is_over = self._is_rejected or self._step is Step.DONE or self._keeps_its_own(self._goal)
        if self._target is not self._goal and is_over:
            self._goal, self._step, self._is_rejected = self._target, Step.CLUSTERS, False
        if self._is_rejected:
            return None
        for type_url, wanted in self._walk():
            if wanted:
                return self._respond(type_url, wanted)
        # It may have been the end of one push, with the next target waiting.
        return self.next_response() if self._step is Step.DONE and self._target is not self._goal else None

    def _keeps_its_own(self, snapshot: Snapshot) -> bool:
        """An Envoy that serves goes on as it is until there is a table: without one all its models would be gone."""
        return snapshot.is_initial and self._has_routes

    def _set_names(self, subscription: _Subscription, names: frozenset[str]) -> None:
        # Envoy forgets what it unsubscribes from, and waits for an answer for what it adds, be it unchanged or not.
        for name in names ^ subscription.names:
            subscription.sent.pop(name, None)
            subscription.accepted.pop(name, None)
        if names - subscription.names:
            self._step = Step.CLUSTERS
        subscription.names = names

    def _handle_verdict(self, request: discovery_pb2.DiscoveryRequest, subscription: _Subscription) -> Rejection | None:
        subscription.is_awaited = False
        if not request.HasField("error_detail"):
            subscription.accepted = dict(subscription.sent)
            return None
        # What Envoy took of this response is unknown: all of it is sent again with the next push.
        for name in subscription.last_response:
            subscription.sent.pop(name, None)
        self._is_rejected = True
        return Rejection(self._goal, request.type_url, request.error_detail.message)

    def _walk(self) -> Iterator[tuple[str, Named]]:
        """Goes forward through the steps; yields what the present one has to send, nothing where it must wait."""
        while self._step is not Step.DONE:
            type_url, wanted = self._plan_step()
            yield type_url, wanted
            if not self._is_complete():
                return
            self._step = Step(self._step + 1)
        self.applied = self._goal

    def _is_complete(self) -> bool:
        """Whether what the present step has sent suffices for the next to begin."""
        match self._step:
            case Step.CLUSTERS:
                return CLUSTER in self._subscriptions
            case Step.ENDPOINTS:
                return self._has_all(ENDPOINTS) and self._has_all(CLUSTER)
            case Step.LISTENER:
                return self._has_all(LISTENER)
            case Step.ROUTES:
                return self._has_all(ROUTES)
            case _:
                return self._has_all(CLUSTER)

    def _has_all(self, type_url: str) -> bool:
        """Whether Envoy has asked for everything that it should have of this type, and has accepted what was sent."""
        goal = self._goal.resources[type_url]
        subscription = self._subscriptions.get(type_url)
        if subscription is None:
            return not goal
        return not subscription.is_awaited and goal.keys() <= subscription.accepted.keys()

    def _plan_step(self) -> tuple[str, Named]:
        match self._step:
            case Step.CLUSTERS:
                return CLUSTER, self._changed_whole(
                    CLUSTER, {**self._clusters_in_use(), **self._goal.resources[CLUSTER]}
                )
            case Step.ENDPOINTS:
                return ENDPOINTS, self._changed(ENDPOINTS)
            case Step.LISTENER:
                return LISTENER, self._changed_whole(LISTENER, self._goal.resources[LISTENER])
            case Step.ROUTES:
                return ROUTES, self._changed(ROUTES)
            case _:
                return CLUSTER, self._changed_whole(CLUSTER, self._goal.resources[CLUSTER])

    def _clusters_in_use(self) -> Named:
        """Those that Envoy's routes may still name."""
        asked = self._subscriptions.get(ENDPOINTS, _Subscription())
        accepted = self._subscriptions.get(CLUSTER, _Subscription()).accepted
        unknown = () if self.applied or accepted else asked.names
        return {**{name: compute_cluster(name) for name in unknown}, **accepted}

    def _changed_whole(self, type_url: str, wanted: Named) -> Named:
        """All of `wanted` where Envoy has anything else: what such a response leaves out is deleted."""
        subscription = self._subscriptions.get(type_url)
        if subscription is None or subscription.sent == wanted:
            return {}
        return wanted

    def _changed(self, type_url: str) -> Named:
        """What Envoy asked for and has not got as it should be."""
        subscription = self._subscriptions.get(type_url)
        if subscription is None:
            return {}
        goal = self._goal.resources[type_url]
        names = goal.keys() & subscription.names
        return {name: goal[name] for name in sorted(names) if subscription.sent.get(name) != goal[name]}

    def _respond(self, type_url: str, wanted: Named) -> discovery_pb2.DiscoveryResponse:
        subscription = self._subscriptions[type_url]
        if type_url == CLUSTER:
            self._forget_endpoints_of_changed_clusters(subscription, wanted)
        if type_url in (CLUSTER, LISTENER):
            subscription.sent = dict(wanted)
        else:
            subscription.sent.update(wanted)
        subscription.last_response, subscription.is_awaited = wanted, True
        subscription.nonce = str(next(self._nonces))
        return discovery_pb2.DiscoveryResponse(
            version_info=str(self._goal.table_version),
            type_url=type_url,
            nonce=subscription.nonce,
            resources=wanted.values(),
        )

    def _forget_endpoints_of_changed_clusters(self, clusters: _Subscription, wanted: Named) -> None:
        """A cluster that is made anew waits for its endpoints, though they are as they were."""
        endpoints = self._subscriptions.get(ENDPOINTS, _Subscription())
        for name, cluster in wanted.items():
            if clusters.sent.get(name) != cluster:
                endpoints.sent.pop(name, None)
