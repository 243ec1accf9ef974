"""Which failures are tried again, how long after, and what a caller gets to read."""

from typing import Any

import grpc
import pytest

from modelyard import _calls
from modelyard.errors import DeadlineExceededError, NotFoundError, UnavailableError


class Failure(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, details: str = "", trailers: tuple[tuple[str, str], ...] = ()) -> None:
        self._code, self._details, self._trailers = code, details, trailers

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> Any:
        return self._trailers


def retry(failure: Failure, attempt: int = 1, retries: int = 2, time_left_s: float = 10) -> bool:
    return _calls.choose_retry_delay_s(failure, attempt, retries, time_left_s, 0.5) is not None


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_only_unavailable_is_tried_again(code: grpc.StatusCode) -> None:
    assert retry(Failure(code)) is (code is grpc.StatusCode.UNAVAILABLE)


def test_not_beyond_the_number_of_retries_nor_the_deadline() -> None:
    failure = Failure(grpc.StatusCode.UNAVAILABLE)
    assert retry(failure, attempt=2) and not retry(failure, attempt=3)
    assert not retry(failure, retries=0)
    assert not retry(failure, time_left_s=0.001)


def test_not_where_the_server_forbids_it() -> None:
    assert not retry(Failure(grpc.StatusCode.UNAVAILABLE, trailers=(("grpc-retry-pushback-ms", "-1"),)))
    assert retry(Failure(grpc.StatusCode.UNAVAILABLE, trailers=(("grpc-retry-pushback-ms", "10"),)))


def test_the_wait_doubles_up_to_a_second_and_is_spread() -> None:
    longest = [_calls.compute_retry_delay_s(attempt, 0) for attempt in range(1, 9)]
    assert longest[:3] == [0.05, 0.1, 0.2] and max(longest) == longest[-1] == 1.0
    assert _calls.compute_retry_delay_s(1, 1) == 0.025


def test_errors_keep_the_server_s_sentence() -> None:
    error = _calls.to_yard_error(Failure(grpc.StatusCode.NOT_FOUND, "no model 'x': did you mean 'y'?"), "a:1")
    assert isinstance(error, NotFoundError) and error.message == "no model 'x': did you mean 'y'?"


def test_an_address_where_nothing_listens_is_named() -> None:
    details = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: connection refused"
    error = _calls.to_yard_error(Failure(grpc.StatusCode.UNAVAILABLE, details), "a:1")
    assert isinstance(error, _calls.UnreachableError) and "a:1" in error.message and "modelyard up" in error.message
    not_ready = _calls.to_yard_error(Failure(grpc.StatusCode.UNAVAILABLE, "no replica is ready"), "a:1")
    assert type(not_ready) is UnavailableError


def test_a_passed_deadline_says_what_to_do() -> None:
    error = _calls.to_yard_error(Failure(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"), "a:1")
    assert isinstance(error, DeadlineExceededError) and "a:1" in error.message
