"""One two-way stream: reports come in while the newest message goes out."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, TypeVar

from controlplane.sessions.mailbox import Mailbox
from modelyard.errors import DeadlineExceededError, InternalError, InvalidArgumentError, YardError

log = logging.getLogger(__name__)

_FIRST_TIMEOUT_S = 10.0

Request = TypeVar("Request")
Message = TypeVar("Message")


async def read_first(requests: AsyncIterator[Request], what: str) -> Request | None:
    """The first message, which should be `what`; None where there is none. DeadlineExceededError where none comes."""
    try:
        async with asyncio.timeout(_FIRST_TIMEOUT_S):
            return await anext(requests, None)
    except TimeoutError:
        raise DeadlineExceededError(f"no {what} came within {_FIRST_TIMEOUT_S:.0f} s: send it first") from None


async def read_hello(requests: AsyncIterator[Any]) -> Any:
    """The `hello` that a stream begins with. Raises YardError where it begins with anything else, or with nothing."""
    first = await read_first(requests, "hello")
    if first is None or first.WhichOneof("message") != "hello":
        raise InvalidArgumentError("the first message must be the hello: who is there, and in which state")
    return first.hello


async def converse(
    requests: AsyncIterator[Request], receive: Callable[[Request], None], mailbox: Mailbox[Message]
) -> AsyncGenerator[Message, None]:
    """What comes into `mailbox`, until the other side ends the stream or `receive` refuses a message.

    A message that is overtaken before it could be sent is skipped.
    """
    reader = asyncio.create_task(_receive_all(requests, receive, mailbox))
    try:
        while (message := await mailbox.get()) is not None:
            yield message
    finally:
        reader.cancel()


async def _receive_all(
    requests: AsyncIterator[Request], receive: Callable[[Request], None], mailbox: Mailbox[Any]
) -> None:
    error: YardError | None = None
    try:
        async for request in requests:
            receive(request)
    except YardError as refused:
        error = refused
    except Exception:
        log.exception("a session broke")
        error = InternalError("internal error; the controller's log has the details")
    finally:
        mailbox.close(error)


def on_end(context: Any, act: Callable[[], None]) -> None:
    """Calls `act` when the call is over, however it ends; a stream's own `finally` may run much later."""
    context.add_done_callback(lambda _: act())
