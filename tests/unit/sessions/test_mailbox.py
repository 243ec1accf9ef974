"""What a stream is told, and in which order."""

import pytest

from controlplane.sessions.mailbox import Mailbox
from modelyard.errors import ResourceExhaustedError, UnavailableError


async def test_orders_are_each_read_once_and_in_turn_after_the_newest_value() -> None:
    mailbox = Mailbox[str]()
    for order in ("first", "second"):
        mailbox.order(order)
    for value in ("old", "new"):
        mailbox.put(value)
    assert [await mailbox.get() for _ in range(3)] == ["new", "first", "second"]


async def test_a_value_that_comes_between_two_orders_goes_before_the_second() -> None:
    mailbox = Mailbox[str]()
    mailbox.order("first")
    mailbox.order("second")
    assert await mailbox.get() == "first"
    mailbox.put("value")
    assert [await mailbox.get(), await mailbox.get()] == ["value", "second"]


async def test_orders_that_nobody_reads_are_refused_beyond_a_limit() -> None:
    mailbox = Mailbox[str]()
    with pytest.raises(ResourceExhaustedError):
        for number in range(1000):
            mailbox.order(str(number))
    mailbox.put("value")
    assert await mailbox.get() == "value"
    assert await mailbox.get() == "0"


async def test_a_closed_mailbox_ends_its_reader_whatever_waits() -> None:
    mailbox = Mailbox[str]()
    mailbox.order("order")
    mailbox.close()
    assert await mailbox.get() is None
    broken = Mailbox[str]()
    broken.close(UnavailableError("away"))
    with pytest.raises(UnavailableError):
        await broken.get()
