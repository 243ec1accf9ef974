"""Logs on their way through the controller."""

import asyncio

import pytest

from controlplane.sessions.logs import LogQuery, LogRelay, LogRelays
from modelyard.errors import FailedPreconditionError, NotFoundError, ResourceExhaustedError, UnavailableError

SOON_S = 10.0


async def read_all(relay: LogRelay) -> list[bytes]:
    return [piece async for piece in relay.read(SOON_S)]


async def settle() -> None:
    """Lets every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_an_agent_puts_is_read_in_order_to_its_end() -> None:
    relay = LogRelays().open("a", LogQuery("r"))
    reading = asyncio.create_task(read_all(relay))
    relay.claim()
    for number in range(20):
        await relay.put(b"%d" % number)
    relay.end()
    assert await reading == [b"%d" % number for number in range(20)]


async def test_a_slow_reader_holds_the_agent_up() -> None:
    relay = LogRelays().open("a", LogQuery("r"))
    relay.claim()
    put = 0

    async def send() -> None:
        nonlocal put
        while True:
            await relay.put(b"x")
            put += 1

    sending = asyncio.create_task(send())
    await settle()
    assert put < 10
    before, pieces = put, relay.read(SOON_S)
    await anext(pieces)
    await settle()
    assert put == before + 1
    sending.cancel()


async def test_an_error_is_told_after_all_that_was_put_before_it() -> None:
    relay = LogRelays().open("a", LogQuery("r"))
    relay.claim()
    await relay.put(b"x")
    relay.end(FailedPreconditionError("no more"))
    relay.end()  # the agent's call ends, too
    pieces = relay.read(SOON_S)
    assert await anext(pieces) == b"x"
    with pytest.raises(FailedPreconditionError, match="no more"):
        await anext(pieces)


async def test_an_agent_that_does_not_answer_is_named() -> None:
    relay = LogRelays().open("a", LogQuery("r"))
    with pytest.raises(UnavailableError, match="agent of node a did not send the log"):
        await anext(relay.read(0.0))


async def test_a_log_is_claimed_once_and_by_its_own_id_only() -> None:
    relays = LogRelays()
    relay = relays.open("a", LogQuery("r"))
    assert relays.claim(relay.request.request_id) is relay
    for request_id in (relay.request.request_id, "", "r"):
        with pytest.raises(NotFoundError):
            relays.claim(request_id)


async def test_nobody_can_claim_what_its_reader_has_left() -> None:
    relays = LogRelays()
    relay = relays.open("a", LogQuery("r"))
    relays.drop(relay)
    assert relay.reader_left.is_set()
    with pytest.raises(NotFoundError):
        relays.claim(relay.request.request_id)


async def test_too_many_readers_of_a_node_are_refused_until_one_leaves() -> None:
    relays, opened = LogRelays(), list[LogRelay]()
    with pytest.raises(ResourceExhaustedError, match="logs of node a are being read"):
        while True:
            opened.append(relays.open("a", LogQuery("r")))
    relays.open("b", LogQuery("s"))
    relays.drop(opened[0])
    relays.open("a", LogQuery("r"))


async def test_too_many_readers_in_all_are_refused() -> None:
    relays = LogRelays()
    with pytest.raises(ResourceExhaustedError, match="logs are being read already"):
        for number in range(1000):
            relays.open(f"n{number}", LogQuery("r"))


async def test_a_controller_that_stops_ends_all_logs() -> None:
    relays = LogRelays()
    claimed, waiting = relays.open("a", LogQuery("r")), relays.open("a", LogQuery("r"))
    claimed.claim()
    relays.close()
    for relay in (claimed, waiting):
        with pytest.raises(UnavailableError, match="the controller is stopping"):
            await read_all(relay)
    with pytest.raises(UnavailableError):
        relays.open("a", LogQuery("r"))
