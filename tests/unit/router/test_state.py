from pathlib import Path
from typing import Any

import pytest

from modelyard.v1 import routing_pb2
from router.ads.hub import Applied
from router.state import RouterState
from router.xds.data_plane import DataPlane


def _message(version: int, port: int = 7) -> routing_pb2.RouteTable:
    message = routing_pb2.RouteTable(version=version)
    message.pools.add(name="m/p@1").endpoints.add(address="127.0.0.1", port=port, weight=1)
    message.routes.add(key="m", model="m", version=1, pool="m/p@1")
    return message


@pytest.fixture
def state(plane: DataPlane, tmp_path: Path) -> RouterState:
    return RouterState(plane, tmp_path / "table")


def test_a_table_that_is_not_valid_leaves_the_one_before(state: RouterState) -> None:
    state.accept_table(_message(1))
    state.accept_table(_message(2, port=0))
    assert state.table is not None
    assert state.table.version == 1
    assert "route table 2 is not valid" in state.hub.applied.error


def test_a_lower_version_is_followed_and_logged(state: RouterState, caplog: pytest.LogCaptureFixture) -> None:
    state.accept_table(_message(9))
    state.accept_table(_message(1))
    assert state.table is not None
    assert state.table.version == 1
    assert "not newer than the one held" in caplog.text


def test_the_same_table_again_is_nothing_new(state: RouterState) -> None:
    state.accept_table(_message(1))
    target = state.hub._target
    state.accept_table(_message(1))
    assert state.hub._target is target


async def test_what_is_applied_is_stored_before_it_is_reported(state: RouterState, tmp_path: Path) -> None:
    state.accept_table(_message(3))
    snapshot = next(iter(state._pushed))

    await state._report(Applied(snapshot))
    assert state.status == routing_pb2.RouterStatus(applied_version=3)
    assert routing_pb2.RouteTable.FromString((tmp_path / "table").read_bytes()) == _message(3)


async def test_a_table_that_cannot_be_stored_is_not_reported_and_told_of_once(
    state: RouterState, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state.accept_table(_message(3))
    applied = Applied(next(iter(state._pushed)))
    (tmp_path / "table.new").mkdir()  # in the way of the file that is written first
    for _ in range(3):
        await state._report(applied)
    assert state.status == routing_pb2.RouterStatus()
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert ["cannot store the route table" in record.message for record in errors] == [True]
    (tmp_path / "table.new").rmdir()
    await state._report(applied)
    assert state.status.applied_version == 3


def test_a_stored_table_is_begun_with(state: RouterState, tmp_path: Path) -> None:
    (tmp_path / "table").write_bytes(_message(3).SerializeToString())
    state.load()
    assert state.table is not None
    assert state.table.version == 3


@pytest.mark.parametrize("content", [b"\xff\xff\xff", b"garbage"])
def test_a_damaged_file_is_no_table(state: RouterState, tmp_path: Path, content: bytes, caplog: Any) -> None:
    (tmp_path / "table").write_bytes(content)
    state.load()
    assert state.table is None
    assert "cannot read the stored route table" in caplog.text
