"""Scripts: what Envoy says, and what it is sent."""

from collections.abc import Sequence
from typing import Any

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import symbol_database
from hypothesis import given, settings
from hypothesis import strategies as st

from router.ads.stream import AdsStream, Rejection, Snapshot
from router.resources import compute_resources
from router.table import Endpoint, Pool, Route, Table
from router.xds.data_plane import DataPlane
from router.xds.types import CLUSTER, ENDPOINTS, LISTENER, ROUTES

_PLANE = DataPlane("127.0.0.1", 8001, "/run/local.sock", 1 << 20, 600, 1 << 18)
_KINDS = {CLUSTER: "clusters", ENDPOINTS: "endpoints", LISTENER: "listener", ROUTES: "routes"}


def _snapshot(sequence: int, **pools: int) -> Snapshot:
    """A route and a pool for each name; the number is the port of its only replica."""
    made = [Pool(f"{name}/p@1", (Endpoint("10.0.0.1", port, 1),), no_retries=False) for name, port in pools.items()]
    routes = tuple(Route(name, name, 1, pool, "") for name, pool in zip(pools, made, strict=True))
    return Snapshot(sequence, sequence, compute_resources(Table(sequence, tuple(made), routes), _PLANE))


class ScriptedEnvoy:
    """Subscribes and acknowledges as Envoy does: clusters only once it has their endpoints."""

    def __init__(self, stream: AdsStream) -> None:
        self.stream = stream
        self.said: list[tuple[str, list[str]]] = []  # kind and names of all responses
        self.has: dict[str, dict[str, Any]] = {kind: {} for kind in _KINDS}
        self.refuses = ""  # a type that it refuses
        self.rejections: list[Rejection] = []
        self._nonces: dict[str, str] = {}
        self._held: discovery_pb2.DiscoveryResponse | None = None

    def ask(self, type_url: str, names: Sequence[str] = (), version: str = "") -> None:
        self.stream.handle_request(
            discovery_pb2.DiscoveryRequest(
                node={"id": "envoy"},
                type_url=type_url,
                resource_names=names,
                version_info=version,
                response_nonce=self._nonces.get(type_url, ""),
            )
        )

    def start(self) -> None:
        self.ask(CLUSTER)
        self.ask(LISTENER)
        self.run()

    def run(self) -> None:
        """Until nobody has anything to say."""
        while response := self.stream.next_response():
            self.take(response)

    def take(self, response: discovery_pb2.DiscoveryResponse) -> None:
        type_url = response.type_url
        self._nonces[type_url] = response.nonce
        resources = {_name(resource): resource for resource in response.resources}
        self.said.append((_KINDS[type_url], sorted(resources)))
        if self.refuses == type_url:
            self._answer(type_url, "bad cluster m/p@1")
            return
        if type_url in (CLUSTER, LISTENER):
            self.has[type_url] = resources
        else:
            self.has[type_url].update(resources)
        self._react(response)

    def _react(self, response: discovery_pb2.DiscoveryResponse) -> None:
        pools = [name for name in self.has[CLUSTER] if name != "local"]
        if response.type_url == CLUSTER:
            self.has[ENDPOINTS] = {name: found for name, found in self.has[ENDPOINTS].items() if name in pools}
            self.ask(ENDPOINTS, pools)
            self._held = response
        else:
            self._answer(response.type_url)
        if self._held and self.has[ENDPOINTS].keys() >= set(pools):
            self._held = None
            self._answer(CLUSTER)
        if response.type_url == LISTENER:
            self.ask(ROUTES, ["models"])

    def _answer(self, type_url: str, error: str = "") -> None:
        names = {ENDPOINTS: [name for name in self.has[CLUSTER] if name != "local"], ROUTES: ["models"]}
        request = discovery_pb2.DiscoveryRequest(
            type_url=type_url, resource_names=names.get(type_url, []), response_nonce=self._nonces[type_url]
        )
        if error:
            request.error_detail.message = error
        if rejection := self.stream.handle_request(request):
            self.rejections.append(rejection)


def _name(resource: Any) -> str:
    kinds = {CLUSTER: "name", ENDPOINTS: "cluster_name", LISTENER: "name", ROUTES: "name"}

    message = symbol_database.Default().GetSymbol(resource.type_url.rpartition("/")[2])()
    resource.Unpack(message)
    return str(getattr(message, kinds[resource.type_url]))


@pytest.fixture
def envoy() -> ScriptedEnvoy:
    """A new one that has all of the first snapshot, with model a."""
    first = _snapshot(1, a=7)
    made = ScriptedEnvoy(AdsStream(first))
    made.start()
    assert made.stream.applied is first
    made.said.clear()
    return made


def test_a_new_envoy_gets_everything_in_order() -> None:
    first = _snapshot(1, a=7, b=8)
    envoy = ScriptedEnvoy(AdsStream(first))
    envoy.start()
    assert envoy.said == [
        ("clusters", ["a/p@1", "b/p@1", "local"]),
        ("endpoints", ["a/p@1", "b/p@1"]),
        ("listener", ["kserve"]),
        ("routes", ["models"]),
    ]
    assert envoy.stream.applied is first


def test_an_endpoint_that_changes_is_all_that_is_sent(envoy: ScriptedEnvoy) -> None:
    envoy.stream.set_target(_snapshot(2, a=8))
    envoy.run()
    assert envoy.said == [("endpoints", ["a/p@1"])]


def test_a_cluster_goes_only_after_the_routes(envoy: ScriptedEnvoy) -> None:
    second = _snapshot(2, b=8)
    envoy.stream.set_target(second)
    envoy.run()
    assert envoy.said == [
        ("clusters", ["a/p@1", "b/p@1", "local"]),
        ("endpoints", ["b/p@1"]),
        ("routes", ["models"]),
        ("clusters", ["b/p@1", "local"]),
    ]
    assert envoy.stream.applied is second


def test_nothing_is_sent_twice(envoy: ScriptedEnvoy) -> None:
    again = _snapshot(2, a=7)
    envoy.stream.set_target(again)
    envoy.run()
    assert envoy.said == []
    assert envoy.stream.applied is again


def test_a_cluster_that_comes_back_gets_its_endpoints_again(envoy: ScriptedEnvoy) -> None:
    envoy.stream.set_target(_snapshot(2))
    envoy.run()
    envoy.said.clear()
    envoy.stream.set_target(_snapshot(3, a=7))
    envoy.run()
    assert ("endpoints", ["a/p@1"]) in envoy.said


def test_a_push_under_way_ends_before_the_next_begins(envoy: ScriptedEnvoy) -> None:
    envoy.stream.set_target(_snapshot(2, b=8))
    first = envoy.stream.next_response()
    last = _snapshot(4, d=9)
    envoy.stream.set_target(_snapshot(3, c=9))
    envoy.stream.set_target(last)
    assert first is not None
    envoy.take(first)
    envoy.run()
    assert ("clusters", ["b/p@1", "local"]) in envoy.said
    assert not any("c/p@1" in names for _, names in envoy.said), "what is overtaken is left out"
    assert envoy.stream.applied is last


@pytest.mark.parametrize("kind", [CLUSTER, ENDPOINTS, ROUTES])
def test_a_refusal_stops_the_push_and_the_last_good_snapshot_is_restored(envoy: ScriptedEnvoy, kind: str) -> None:
    good, bad = envoy.stream.applied, _snapshot(2, a=8, b=9)
    assert good is not None
    envoy.refuses = kind
    envoy.stream.set_target(bad)
    envoy.run()
    assert [(r.snapshot, r.type_url, r.message) for r in envoy.rejections] == [(bad, kind, "bad cluster m/p@1")]
    assert envoy.said[-1][0] == _KINDS[kind], "nothing follows it"
    assert envoy.stream.applied is good
    envoy.refuses = ""
    envoy.said.clear()
    envoy.stream.set_target(good)
    envoy.run()
    assert envoy.stream.applied is good
    assert all(envoy.has[type_url] == dict(good.resources[type_url]) for type_url in _KINDS)
    if kind == CLUSTER:
        assert envoy.said[0] == ("clusters", ["a/p@1", "local"]), "the refused cluster is not sent again"


def test_a_refusal_of_the_last_good_snapshot_ends_in_silence(envoy: ScriptedEnvoy) -> None:
    good = envoy.stream.applied
    assert good is not None
    envoy.refuses = ENDPOINTS
    envoy.stream.set_target(_snapshot(2, a=8))
    envoy.run()
    envoy.stream.set_target(good)
    envoy.run()
    assert len(envoy.rejections) == 2
    assert envoy.stream.next_response() is None
    envoy.refuses = ""
    envoy.stream.set_target(_snapshot(3, a=9))
    envoy.run()
    assert envoy.stream.applied is not good


def test_an_old_nonce_acknowledges_nothing(envoy: ScriptedEnvoy) -> None:
    applied = envoy.stream.applied
    envoy.stream.set_target(_snapshot(2, a=8))
    assert envoy.stream.next_response() is not None
    stale = discovery_pb2.DiscoveryRequest(type_url=ENDPOINTS, resource_names=["a/p@1"], response_nonce="0")
    assert envoy.stream.handle_request(stale) is None
    assert envoy.stream.next_response() is None
    assert envoy.stream.applied is applied


def test_an_envoy_that_serves_already_keeps_its_clusters_until_its_routes_are_ours() -> None:
    """Its clusters are known to nobody but itself: it served another table, of a router process that is gone."""
    envoy = ScriptedEnvoy(AdsStream(_snapshot(1, b=8)))
    envoy.ask(CLUSTER, version="9")
    envoy.run()
    assert envoy.said == [], "before it has told its clusters, nothing may be dropped"
    envoy.ask(LISTENER, version="9")
    envoy.ask(ROUTES, ["models"], version="9")
    envoy.ask(ENDPOINTS, ["a/p@1"], version="9")
    envoy.has[ENDPOINTS]["a/p@1"] = None
    envoy.run()
    assert envoy.said == [
        ("clusters", ["a/p@1", "b/p@1", "local"]),
        ("endpoints", ["b/p@1"]),
        ("listener", ["kserve"]),
        ("routes", ["models"]),
        ("clusters", ["b/p@1", "local"]),
    ]


def test_an_envoy_that_comes_back_without_clusters_is_not_waited_for_longer_than_needed() -> None:
    envoy = ScriptedEnvoy(AdsStream(_snapshot(1, b=8)))
    envoy.ask(CLUSTER, version="9")
    envoy.ask(LISTENER, version="9")
    assert envoy.stream.is_settling
    envoy.stream.settle()
    envoy.run()
    assert envoy.stream.applied is not None


def test_an_envoy_that_serves_keeps_what_it_has_until_there_is_a_table() -> None:
    """It would lose all its models to a router that has lost its table, with nobody to ask."""
    initial = _snapshot(0)
    envoy = ScriptedEnvoy(AdsStream(initial))
    envoy.ask(CLUSTER, version="9")
    envoy.ask(LISTENER, version="9")
    envoy.ask(ROUTES, ["models"], version="9")
    envoy.ask(ENDPOINTS, ["a/p@1"], version="9")
    envoy.run()
    assert envoy.said == []
    assert envoy.stream.has(initial), "it may be adopted as it is"
    envoy.has[ENDPOINTS]["a/p@1"] = None
    envoy.stream.set_target(_snapshot(1, b=8))
    envoy.run()
    assert [kind for kind, _ in envoy.said] == ["clusters", "endpoints", "listener", "routes", "clusters"]
    assert envoy.said[0] == ("clusters", ["a/p@1", "b/p@1", "local"])


def test_an_envoy_without_routes_gets_the_initial_ones() -> None:
    """New, or killed in its first push: with these it listens, and says that nothing is ready."""
    initial = _snapshot(0)
    for version in ("", "0"):
        envoy = ScriptedEnvoy(AdsStream(initial))
        envoy.ask(CLUSTER, version=version)
        envoy.ask(LISTENER)
        envoy.stream.settle()
        envoy.run()
        assert envoy.said[-1] == ("routes", ["models"])
        assert envoy.stream.applied is initial


_TABLES = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 3), max_size=4)


@settings(max_examples=60, deadline=None)
@given(tables=st.lists(st.tuples(_TABLES, st.sampled_from(["", "", "", CLUSTER, ENDPOINTS, ROUTES])), max_size=6))
def test_whatever_comes_routes_never_name_a_cluster_without_endpoints(tables: list[tuple[dict[str, int], str]]) -> None:
    stream = AdsStream(_snapshot(0))
    envoy = ScriptedEnvoy(stream)
    envoy.start()
    good = stream.applied
    for sequence, (pools, refused) in enumerate(tables, start=1):
        envoy.refuses = refused
        stream.set_target(_snapshot(sequence, **pools))
        _run_checked(envoy)
        envoy.refuses = ""
        if stream.applied is good:
            assert good is not None
            stream.set_target(good)
            _run_checked(envoy)
        good = stream.applied
        assert good is not None
        assert all(envoy.has[type_url] == dict(good.resources[type_url]) for type_url in _KINDS)


def _run_checked(envoy: ScriptedEnvoy) -> None:
    while response := envoy.stream.next_response():
        envoy.take(response)
        routed = _routed_clusters(envoy.has[ROUTES]["models"])
        assert routed <= envoy.has[CLUSTER].keys()
        assert routed <= envoy.has[ENDPOINTS].keys()


def _routed_clusters(routes: Any) -> set[str]:
    """Pools are named like "a/p@1"; the bytes of the routes tell which they name."""
    return {f"{name}/p@1" for name in "abcd" if f"{name}/p@1".encode() in routes.value}
