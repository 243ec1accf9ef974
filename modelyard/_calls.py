"""How a client calls: the channel's options, deadlines, which failures are tried again and when, errors.

What is tried again: UNAVAILABLE alone. It is what a yard says when a request reached no replica (nothing listens,
nothing is ready) or lost its connection. In the last case it may have run; an inference changes nothing, so running it
twice is safe. Where that is not true there is `retries=0`; and a deployment made with `--no-retries` answers with a
negative `grpc-retry-pushback-ms`, gRPC's own way to forbid a retry, which is obeyed. Never tried again: a deadline that
has passed (no time is left), RESOURCE_EXHAUSTED (more load is what an overloaded yard needs least), and all that says
that the request or the model is wrong.
"""

from __future__ import annotations

import time
from numbers import Integral, Real
from typing import Any

import grpc

from modelyard.errors import InvalidArgumentError, UnavailableError, YardError, from_status

DEFAULT_TIMEOUT_S = 30.0
DEFAULT_RETRIES = 2
# A year: gRPC takes what its clock cannot hold for a deadline that has passed.
_LONGEST_TIMEOUT_S = 365 * 86400.0
_FIRST_DELAY_S = 0.05
_LONGEST_DELAY_S = 1.0
_PUSHBACK_KEY = "grpc-retry-pushback-ms"
_NOT_CONNECTED = (
    "failed to connect",
    "DNS resolution failed",
    "errors resolving",
    "hostname lookup error",
    "Misformatted domain name",
)

CHANNEL_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Finds a peer that is gone without a word, while a call waits for it.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A yard that has just started again is found within a second, not within gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Despite its name, what one try may take until the server has greeted: some are far away, some are busy.
    ("grpc.min_reconnect_backoff_ms", 5_000),
]


class UnreachableError(UnavailableError):
    """Nothing answers at the address that was given."""


def time_left_s(deadline: float) -> float:
    """Seconds until `deadline` (of time.monotonic), never none at all: grpc.aio takes 0 for "no deadline"."""
    return min(max(deadline - time.monotonic(), 0.001), _LONGEST_TIMEOUT_S)


def check_timeout_s(timeout_s: float) -> float:
    """The time itself. Raises InvalidArgumentError for less than none, TypeError for what is no number."""
    if not isinstance(timeout_s, Real) or isinstance(timeout_s, bool):
        raise TypeError(f"timeout_s must be a number of seconds, not {timeout_s!r}")
    if not timeout_s >= 0:  # not a number (NaN), too
        raise InvalidArgumentError(f"timeout_s={timeout_s} is no time to wait: give seconds, from 0 up")
    return timeout_s


def check_retries(retries: int) -> int:
    """The number itself. Raises InvalidArgumentError for less than none, TypeError for what is no whole number."""
    if not isinstance(retries, Integral) or isinstance(retries, bool):
        raise TypeError(f"retries must be a whole number, not {retries!r}")
    if retries < 0:
        raise InvalidArgumentError(f"retries={retries}: give how often a call may be sent again, from 0 up")
    return retries


def compute_retry_delay_s(attempt: int, chance: float) -> float:
    """Seconds to wait after `attempt` tries: doubling from 0.05 to 1, less up to half of it by `chance` (0 to 1)."""
    longest: float = min(_FIRST_DELAY_S * 2 ** (attempt - 1), _LONGEST_DELAY_S)
    return longest * (1 - 0.5 * chance)


def choose_retry_delay_s(
    error: grpc.RpcError, attempt: int, retries: int, time_left_s: float, chance: float
) -> float | None:
    """Seconds to wait before a failed call is sent again; None: it is not, for one of the reasons above."""
    delay_s = compute_retry_delay_s(attempt, chance)
    if error.code() is not grpc.StatusCode.UNAVAILABLE or attempt > retries or delay_s >= time_left_s:  # type: ignore[attr-defined]
        return None
    trailers: Any = error.trailing_metadata() or ()  # type: ignore[attr-defined]
    forbidden = any(key == _PUSHBACK_KEY and str(value).startswith("-") for key, value in trailers)
    return None if forbidden else delay_s


def to_yard_error(error: grpc.RpcError, address: str) -> YardError:
    """The error as one of modelyard.errors, with the server's own sentence."""
    code, details = error.code(), error.details() or ""  # type: ignore[attr-defined]
    if code is grpc.StatusCode.UNAVAILABLE and any(text in details for text in _NOT_CONNECTED):
        return UnreachableError(
            f"nothing answers at {address}: start a yard with `modelyard up`, or give the address of one that runs"
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and details in ("", "Deadline Exceeded"):
        details = f"no answer from {address} within the deadline: give a longer one, or see how loaded it is"
    return from_status(code, details or f"{address} answered {code.name} without a reason")
