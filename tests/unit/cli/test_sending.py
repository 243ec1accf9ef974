"""When a file is sent again, and when a controller's no is its last word."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelyard._calls import UnreachableError
from modelyard.cli.local_model import LocalModel
from modelyard.cli.upload import create_version
from modelyard.errors import AbortedError, UnavailableError, YardError
from modelyard.v1 import registry_pb2, resources_pb2

CONTENT = b"a model"
SLOW = "looking at the model took more than 120 s; try again when the host is less busy"


class _Yard:
    """`answers`: to each sending, an error or None; `found`: what is there before each, the last for ever."""

    def __init__(self, *answers: YardError | None, found: list[tuple[int, bool]]) -> None:
        self.answers, self.found = list(answers), found
        self.sent: list[bytes] = []
        self.registry = self

    def FindUpload(self, request: Any, timeout_s: float | None) -> Any:
        offset_bytes, is_stored = self.found.pop(0) if len(self.found) > 1 else self.found[0]
        return registry_pb2.FindUploadResponse(offset_bytes=offset_bytes, is_stored=is_stored)

    def CreateVersion(self, requests: Any, timeout_s: float | None) -> Any:
        self.sent.append(b"".join(request.chunk for request in requests))
        if error := self.answers.pop(0) if self.answers else None:
            raise error
        return registry_pb2.CreateVersionResponse(version=resources_pb2.Version(model_id="resnet@1"))


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[_Yard], Any]:
    monkeypatch.setattr("modelyard.cli.reconnecting.time.sleep", lambda _: None)
    path = tmp_path / "model.onnx"
    path.write_bytes(CONTENT)

    def run(yard: _Yard) -> Any:
        header = registry_pb2.CreateVersionRequest.Header(parent="models/resnet", size_bytes=7, sha256="0" * 64)
        return create_version(yard, header, LocalModel(path))  # type: ignore[arg-type]

    return run


@pytest.mark.parametrize("first", [(3, False), (7, True)], ids=["taken up by another", "stored, but damaged"])
def test_less_than_was_told_is_asked_for_again(register: Callable[[_Yard], Any], first: tuple[int, bool]) -> None:
    yard = _Yard(AbortedError("ask again how much there is"), found=[first, (0, False)])
    assert register(yard).model_id == "resnet@1"
    assert yard.sent == [CONTENT[first[0] :], CONTENT]


def test_it_is_not_asked_for_ever(register: Callable[[_Yard], Any]) -> None:
    yard = _Yard(*[AbortedError("ask again")] * 50, found=[(3, False)])
    with pytest.raises(AbortedError):
        register(yard)
    assert len(yard.sent) < 15


def test_what_has_arrived_whole_is_looked_at_twice_at_most(
    register: Callable[[_Yard], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    yard = _Yard(*[UnavailableError(SLOW)] * 50, found=[(0, False), (7, False)])
    with pytest.raises(UnavailableError, match="120 s"):
        register(yard)
    assert yard.sent == [CONTENT, b""]
    told = capsys.readouterr().err
    assert f"{SLOW}; trying again in " in told and "cannot be reached" not in told


def test_what_is_there_whole_at_first_has_a_second_try(register: Callable[[_Yard], Any]) -> None:
    assert register(_Yard(UnavailableError(SLOW), found=[(7, False)])).model_id == "resnet@1"
    yard = _Yard(*[UnavailableError(SLOW)] * 50, found=[(7, True)])
    with pytest.raises(UnavailableError):
        register(yard)
    assert yard.sent == [b"", b""]


def test_a_controller_that_is_away_is_waited_for_all_the_same(
    register: Callable[[_Yard], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    yard = _Yard(*[UnreachableError("nothing answers")] * 3, found=[(7, False)])
    assert register(yard).model_id == "resnet@1" and len(yard.sent) == 4
    assert "the controller cannot be reached; trying again" in capsys.readouterr().err
