"""What is known of routers, and which table each gets."""

from datetime import UTC, datetime, timedelta

import pytest

from controlplane.domain import RouteTable
from controlplane.sessions.routers import RouterSessions
from modelyard.errors import AlreadyExistsError, UnavailableError


@pytest.fixture
def sessions() -> RouterSessions:
    return RouterSessions(lambda: datetime(2026, 1, 1, tzinfo=UTC), timedelta(seconds=30), lambda: None)


async def test_a_router_gets_the_newest_table_and_skips_those_between(sessions: RouterSessions) -> None:
    early = sessions.register("early", "10.0.0.1:8001", 0, "")
    for version in (1, 2, 3):
        sessions.publish(RouteTable(version))
    late = sessions.register("late", "10.0.0.2:8001", 0, "")
    assert await early.get() == RouteTable(3)
    assert await late.get() == RouteTable(3)


def test_what_it_applied_is_kept_when_it_goes(sessions: RouterSessions) -> None:
    mailbox = sessions.register("r", "10.0.0.1:8001", 0, "")
    sessions.report("r", mailbox, 7, "cluster x: bad")
    sessions.disconnect("r", mailbox)
    view = sessions.view()["r"]
    assert (view.applied_version, view.error, view.connected) == (7, "cluster x: bad", False)


def test_one_id_is_one_router(sessions: RouterSessions) -> None:
    sessions.register("r", "10.0.0.1:8001", 0, "")
    with pytest.raises(AlreadyExistsError):
        sessions.register("r", "10.0.0.2:8001", 0, "")
    mailbox = sessions.register("r", "10.0.0.1:8001", 0, "")
    sessions.disconnect("r", mailbox)
    sessions.register("r", "10.0.0.2:8001", 0, "")


async def test_at_the_end_streams_are_told_to_come_back(sessions: RouterSessions) -> None:
    mailbox = sessions.register("r", "10.0.0.1:8001", 0, "")
    sessions.close()
    with pytest.raises(UnavailableError):
        await mailbox.get()
