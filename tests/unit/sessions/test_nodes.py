"""What is known of nodes, and what each is told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from controlplane.domain import Allocation, DesiredReplica, Node, ObservedReplica, ReplicaState
from controlplane.sessions.logs import LogQuery, LogRequest
from controlplane.sessions.nodes import DesiredSet, Hello, NodeSessions, Report
from modelyard.errors import AbortedError, AlreadyExistsError, UnavailableError
from tests.unit.policy.simulation import make_version

NODE = Node("a", "10.0.0.1", cores=(0, 1), memory_bytes=1000)
REPLICA = DesiredReplica("r", make_version("resnet", 1), Allocation((0,), 1, 100))
READY = {"r": ObservedReplica("r", ReplicaState.READY, port=80)}


class Sessions(NodeSessions):
    """With a clock that stands still until it is moved, and a count of the changes."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.changes = 0
        super().__init__(lambda: self.now, timedelta(seconds=30), self._count)

    def _count(self) -> None:
        self.changes += 1


@pytest.fixture
def sessions() -> Sessions:
    return Sessions()


async def test_each_change_of_the_desired_set_has_a_greater_generation(sessions: Sessions) -> None:
    mailbox = sessions.register(Hello("1", NODE))
    generations = []
    for replicas in ((), (REPLICA,), ()):
        sessions.send_desired({"a": replicas})
        desired = await mailbox.get()
        assert isinstance(desired, DesiredSet)
        assert desired.replicas == replicas
        generations.append(desired.generation)
    assert generations == sorted(set(generations))
    assert generations[0] >= sessions.now.timestamp() * 1000


async def test_a_slow_reader_gets_the_newest_set_only(sessions: Sessions) -> None:
    mailbox = sessions.register(Hello("1", NODE))
    for replicas in ((REPLICA,), (), (REPLICA,)):
        sessions.send_desired({"a": replicas})
    desired = await mailbox.get()
    assert isinstance(desired, DesiredSet)
    assert sessions.view()["a"].desired_generation == desired.generation
    assert sessions.view()["a"].desired == {"r"}


def test_the_same_set_is_not_sent_again(sessions: Sessions) -> None:
    sessions.register(Hello("1", NODE))
    sessions.send_desired({"a": (REPLICA,)})
    before = sessions.view()["a"].desired_generation
    sessions.send_desired({"a": (replace(REPLICA),)})
    assert sessions.view()["a"].desired_generation == before


async def test_a_node_that_knows_a_later_generation_gets_one_after_it(sessions: Sessions) -> None:
    sessions.register(Hello("1", NODE))
    sessions.send_desired({})
    mailbox = sessions.register(Hello("1", replace(NODE, observed_generation=1 << 50)))
    desired = await mailbox.get()
    assert isinstance(desired, DesiredSet)
    assert desired.generation > 1 << 50


def test_only_news_wakes(sessions: Sessions) -> None:
    mailbox = sessions.register(Hello("1", NODE))
    before = sessions.changes
    sessions.observe("a", mailbox, Report(5, READY, {}))
    assert sessions.changes == before + 1
    sessions.observe("a", mailbox, Report(5, dict(READY), {}))
    assert sessions.changes == before + 1


def test_reports_of_a_replaced_stream_are_dropped(sessions: Sessions) -> None:
    old = sessions.register(Hello("1", NODE))
    sessions.register(Hello("1", NODE))
    sessions.observe("a", old, Report(5, READY, {}))
    sessions.disconnect("a", old)
    assert sessions.view()["a"].observed == {}
    assert sessions.view()["a"].connected


async def test_a_replaced_stream_is_ended_and_another_agent_refused(sessions: Sessions) -> None:
    old = sessions.register(Hello("1", NODE))
    with pytest.raises(AlreadyExistsError):
        sessions.register(Hello("2", NODE))
    sessions.register(Hello("1", NODE))
    with pytest.raises(AbortedError):
        await old.get()


def test_a_node_that_is_away_keeps_what_it_said_and_is_forgotten_in_the_end(sessions: Sessions) -> None:
    mailbox = sessions.register(Hello("1", NODE))
    sessions.observe("a", mailbox, Report(5, READY, {}))
    sessions.disconnect("a", mailbox)
    assert (sessions.view()["a"].observed, sessions.view()["a"].connected) == (READY, False)
    sessions.now += timedelta(hours=2)
    assert sessions.view() == {}


async def test_at_the_end_streams_are_told_to_come_back(sessions: Sessions) -> None:
    mailbox = sessions.register(Hello("1", NODE))
    sessions.close()
    with pytest.raises(UnavailableError):
        await mailbox.get()
    with pytest.raises(UnavailableError):
        sessions.register(Hello("1", NODE))


async def test_the_node_of_a_replica_is_known_for_a_while_after_it_has_gone(sessions: Sessions) -> None:
    sessions.register(Hello("1", NODE))
    assert sessions.last_node_of("r") is None
    sessions.send_desired({"a": (REPLICA,)})
    sessions.send_desired({})
    assert sessions.last_node_of("r") == "a"


async def test_a_log_cannot_be_asked_of_a_node_that_is_away(sessions: Sessions) -> None:
    request = LogRequest("1", LogQuery("r"))
    with pytest.raises(UnavailableError, match="node a is away"):
        sessions.order_log("a", request)
    mailbox = sessions.register(Hello("1", NODE))
    sessions.send_desired({"a": (REPLICA,)})
    sessions.order_log("a", request)
    assert isinstance(await mailbox.get(), DesiredSet)
    assert await mailbox.get() == request
    sessions.disconnect("a", mailbox)
    with pytest.raises(UnavailableError, match="node a is away"):
        sessions.order_log("a", request)
