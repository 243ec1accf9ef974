import errno
import os
from pathlib import Path

import pytest

from nodeagent.modelserver import spare


@pytest.mark.parametrize(
    ("capable", "nice_limit", "lowered"),
    [(True, 0, True), (False, 0, False), (False, 19, False), (False, 20, True), (False, 40, True)],
)
def test_a_priority_that_could_not_be_raised_again_is_not_lowered(
    capable: bool, nice_limit: int, lowered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: list[tuple[int, int, int]] = []
    monkeypatch.setattr(spare, "_has_capability", lambda _number: capable)
    monkeypatch.setattr("resource.getrlimit", lambda _which: (nice_limit, nice_limit))
    monkeypatch.setattr(os, "getpriority", lambda _which, _who: 0)
    monkeypatch.setattr(os, "setpriority", lambda *change: changes.append(change))
    assert spare._lower_priority() == 0
    assert changes == ([(os.PRIO_PROCESS, 0, 10)] if lowered else [])


def test_a_server_that_is_no_spare_goes_on_with_its_own_flags() -> None:
    flags = ["--model", "resnet", "--spare", "onnxruntime"]
    assert spare.main_arguments(flags) == flags
    assert spare.main_arguments([]) == []


@pytest.mark.parametrize("arguments", [["--spare"], ["--spare", "numpy"], ["--spare", "onnxruntime", "--model", "x"]])
def test_a_spare_of_what_there_is_none_is_refused_in_a_sentence(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="--spare stands alone, with one of onnxruntime, openvino"):
        spare.main_arguments(arguments)


class Autogroup:
    """The kernel's file, which refuses changes that come too fast."""

    def __init__(self, text: str, refusals: int = 0) -> None:
        self.text = text
        self.refusals = refusals
        self.written: list[str] = []

    def read_text(self) -> str:
        return self.text

    def write_text(self, text: str) -> None:
        if self.written and self.refusals:
            self.refusals -= 1
            raise BlockingIOError(errno.EAGAIN, "too fast")
        self.written.append(text)


def test_its_session_has_a_low_priority_for_as_long_as_it_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    autogroup, pauses = Autogroup("/autogroup-57 nice 3\n", refusals=2), list[float]()
    monkeypatch.setattr(spare, "_AUTOGROUP", autogroup)
    monkeypatch.setattr("time.sleep", pauses.append)
    with spare._low_session_priority():
        assert autogroup.written == ["10"]
    assert autogroup.written == ["10", "3"]
    assert len(pauses) == 2


def test_a_spare_that_would_stay_slow_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare, "_AUTOGROUP", Autogroup("/autogroup-57 nice 0\n", refusals=10**6))
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    with pytest.raises(BlockingIOError), spare._low_session_priority():
        pass


def test_a_kernel_without_priorities_of_sessions_is_no_reason_to_have_no_spare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spare, "_AUTOGROUP", tmp_path / "autogroup")
    with spare._low_session_priority():
        pass
    assert not list(tmp_path.iterdir())
