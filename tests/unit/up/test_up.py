"""`modelyard up`: the rules that need no process."""

from pathlib import Path

import pytest

from modelyard.up import child
from modelyard.up.backoff import compute_restart_delay_s, count_failures
from modelyard.up.yard import to_dialable


def test_the_pause_before_a_restart_doubles_up_to_half_a_minute() -> None:
    delays = [compute_restart_delay_s(failures) for failures in range(1, 20)]
    assert delays[:3] == [0.5, 1.0, 2.0] and delays[-1] == max(delays) == 30.0


def test_a_program_that_ran_for_long_starts_from_the_first_pause_again() -> None:
    assert count_failures(5, ran_s=1.0) == 6
    assert count_failures(5, ran_s=3600.0) == 1


def test_a_large_log_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_ROTATE_BYTES", 3)
    log = tmp_path / "logs" / "router.log"
    child.rotate(log)
    log.write_text("old text")
    child.rotate(log)
    assert not log.exists() and log.with_name("router.log.1").read_text() == "old text"
    log.write_text("new")
    child.rotate(log)
    assert log.read_text() == "new"


@pytest.mark.parametrize(
    ("listen", "dial"),
    [
        ("0.0.0.0:80", "127.0.0.1:80"),
        ("[::]:80", "[::1]:80"),
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("[fe80::1]:80", "[fe80::1]:80"),
    ],
)
def test_all_addresses_include_the_loopback(listen: str, dial: str) -> None:
    assert to_dialable(listen) == dial
