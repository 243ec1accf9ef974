"""Exit codes that a script can trust."""

import pytest

from modelyard import errors
from modelyard._calls import UnreachableError
from modelyard.cli.errors import WaitTimeoutError, exit_code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFoundError("x"), 1),
        (errors.UnavailableError("no replica is ready"), 1),
        (UnreachableError("nothing answers"), 3),
        (errors.DeadlineExceededError("late"), 4),
        (WaitTimeoutError("not yet"), 4),
    ],
)
def test_each_kind_of_failure_has_its_code(error: errors.YardError, code: int) -> None:
    assert exit_code(error) == code
