"""What `modelyard purge` asks the controller for, and what it tells of the answers."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from modelyard.cli import purge
from modelyard.v1 import registry_pb2 as pb
from modelyard.v1.resources_pb2 import Version


@pytest.mark.parametrize(
    ("is_again", "sentence"),
    [(False, "1 version with 1 file of 3 B removed\n"), (True, "0 versions with 1 file of 3 B removed\n")],
)
def test_a_file_that_was_left_is_told_of_without_its_version(
    is_again: bool, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a purge that was cut off: the record says that it is purged, and a file is left."""

    def answer(request: Any, timeout_s: float) -> Any:
        versions = [Version(model_id="resnet@1")]
        return pb.PurgeVersionsResponse(versions=versions, version_count=1, removed_files=1, removed_bytes=3)

    yard: Any = SimpleNamespace(registry=SimpleNamespace(PurgeVersions=answer))
    result = purge._purge(yard, pb.PurgeVersionsRequest(name="models/resnet/versions/1"), is_again)
    purge._print(result, is_dry_run=False)
    printed = capsys.readouterr().out
    assert printed.endswith(sentence) and ("resnet@1" in printed) is not is_again


class _Yard:
    """`answer_s`: how long whoever is asked thinks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer_s: float) -> None:
        self.now, self._answer_s = 1000.0, answer_s
        self.asked: list[tuple[bool, int, float]] = []  # dry run, age, when
        self.registry = SimpleNamespace(PurgeVersions=self._answer)
        monkeypatch.setattr(purge, "Controller", lambda address: nullcontext(self))
        monkeypatch.setattr(purge, "time", SimpleNamespace(monotonic=lambda: self.now, sleep=self._pass))
        monkeypatch.setattr(purge, "_is_purged", lambda yard, version: False)
        monkeypatch.setattr(purge, "_is_wanted", self._think)

    def _answer(self, request: Any, timeout_s: float) -> Any:
        self.asked.append((request.dry_run, request.min_age_s, self.now))
        return pb.PurgeVersionsResponse(versions=[Version(model_id="resnet@1")], version_count=1)

    def _pass(self, seconds: float) -> None:
        self.now += seconds

    def _think(self, result: Any) -> bool:
        self._pass(self._answer_s)
        return True


def test_what_was_deleted_while_somebody_was_asked_is_not_purged(monkeypatch: pytest.MonkeyPatch) -> None:
    yard = _Yard(monkeypatch, answer_s=300.25)
    purge.purge(older_than="60s")
    (is_dry, first_age_s, first_at), (is_dry_again, age_s, at) = yard.asked
    assert (is_dry, is_dry_again) == (True, False)
    assert (first_age_s, age_s) == (60, 361)
    assert at - age_s == first_at - first_age_s, "both are of what was deleted until the same moment"


@pytest.mark.parametrize(("version", "yes"), [("resnet@1", False), (None, True)])
def test_the_age_is_as_given_where_one_version_is_named_or_nobody_is_asked(
    monkeypatch: pytest.MonkeyPatch, version: str | None, yes: bool
) -> None:
    yard = _Yard(monkeypatch, answer_s=300.25)
    purge.purge(version=version, older_than="60s", yes=yes)
    assert yard.asked[-1][:2] == (False, 60)
