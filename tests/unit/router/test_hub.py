"""What counts as applied, and what is done about refusals."""

from typing import Any

import pytest

from router.ads.hub import Applied, Hub
from router.ads.stream import AdsStream, Rejection, Snapshot
from router.xds.types import CLUSTER

_RESOURCES: dict[str, dict[str, Any]] = {}


class ScriptedStream(AdsStream):
    """Applies or refuses its target when the test says so."""

    def __init__(self, hub: Hub, node_id: str) -> None:
        self.node_id, self.applied, self.target = node_id, None, hub._target
        self._hub = hub
        hub._streams[self] = lambda: None

    def set_target(self, snapshot: Snapshot) -> None:
        self.target = snapshot

    def apply(self) -> None:
        self.applied = self.target
        self._hub.handle_progress()

    def handle_request(self, request: Any) -> Rejection | None:
        return Rejection(self.target, CLUSTER, request)


@pytest.fixture
def reports() -> list[Applied]:
    return []


@pytest.fixture
def hub(reports: list[Applied]) -> Hub:
    made = Hub(_RESOURCES, reports.append)
    made.add_data_plane("one")
    return made


def _version(hub: Hub) -> int:
    return hub.applied.snapshot.table_version if hub.applied.snapshot else -1


def test_applied_is_what_every_data_plane_has(hub: Hub) -> None:
    one, two = ScriptedStream(hub, "one"), ScriptedStream(hub, "two")
    hub.add_data_plane("two")
    hub.set_table(7, _RESOURCES)
    one.apply()
    assert _version(hub) == -1
    two.apply()
    assert _version(hub) == 7
    hub.set_table(8, _RESOURCES)
    two.apply()
    assert _version(hub) == 7
    hub.remove_data_plane("one")
    assert _version(hub) == 8


def test_a_data_plane_that_is_not_connected_holds_back_what_is_new_and_nothing_old(hub: Hub) -> None:
    one = ScriptedStream(hub, "one")
    hub.set_table(7, _RESOURCES)
    one.apply()
    hub.close_stream(one)
    hub.set_table(8, _RESOURCES)
    assert _version(hub) == 7
    ScriptedStream(hub, "one").apply()
    assert _version(hub) == 8


def test_versions_may_begin_again(hub: Hub) -> None:
    one = ScriptedStream(hub, "one")
    hub.set_table(7, _RESOURCES)
    one.apply()
    hub.set_table(1, _RESOURCES)
    one.apply()
    assert _version(hub) == 1


def test_a_refused_table_is_taken_back_everywhere(hub: Hub, reports: list[Applied]) -> None:
    one, two = ScriptedStream(hub, "one"), ScriptedStream(hub, "two")
    hub.add_data_plane("two")
    hub.set_table(7, _RESOURCES)
    one.apply()
    two.apply()
    hub.set_table(8, _RESOURCES)
    one.apply()
    hub.handle_request(two, "malformed address")  # type: ignore[arg-type]
    assert one.target.table_version == two.target.table_version == 7
    one.apply()
    two.apply()
    assert _version(hub) == 7
    assert hub.applied.error == "Envoy refused the Cluster of route table 8: malformed address"
    hub.set_table(9, _RESOURCES)
    one.apply()
    two.apply()
    assert reports[-1] == hub.applied == Applied(hub.applied.snapshot, "")
    assert _version(hub) == 9


def test_a_refusal_of_what_is_overtaken_changes_nothing(hub: Hub) -> None:
    one = ScriptedStream(hub, "one")
    hub.set_table(7, _RESOURCES)
    refused = one.target
    hub.set_table(8, _RESOURCES)
    one.target = refused
    hub.handle_request(one, "late")  # type: ignore[arg-type]
    assert hub.applied.error == ""


def test_a_table_that_is_not_even_pushed_is_reported(hub: Hub, reports: list[Applied]) -> None:
    hub.refuse_table("route table 3 is not valid")
    assert reports[-1].error == "route table 3 is not valid"
    hub.set_table(4, _RESOURCES)
    assert reports[-1].error == ""


def test_long_words_of_envoy_are_cut_in_the_middle(hub: Hub) -> None:
    one = ScriptedStream(hub, "one")
    hub.set_table(7, _RESOURCES)
    hub.handle_request(one, "cluster m/p@1: " + "x" * 9000 + " reason: no")  # type: ignore[arg-type]
    assert len(hub.applied.error) < 800
    assert "m/p@1" in hub.applied.error
    assert hub.applied.error.endswith("reason: no")
