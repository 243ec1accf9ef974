import signal

import pytest

from nodeagent.server_process import describe_exit


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (None, "its process ended: bye"),
        (3, "its process ended with code 3: bye"),
        (-signal.SIGSEGV, "its process was killed by SIGSEGV: bye"),
        (-signal.SIGKILL, "its process was killed by SIGKILL; the kernel does so when memory runs out"),
        (-(signal.SIGRTMIN + 1), f"its process was killed by signal {signal.SIGRTMIN + 1}: bye"),
    ],
)
def test_how_a_server_ended_is_told(code: int | None, sentence: str) -> None:
    assert describe_exit(code, "bye") == sentence
