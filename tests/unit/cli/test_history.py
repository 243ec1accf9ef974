"""What an alias was at any time, of its moves."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from modelyard.cli.history import find_last_moves
from modelyard.v1 import resources_pb2


def _move(alias: str, second: int, to_version: int) -> Any:
    move = resources_pb2.AliasMove(alias=alias, to_version=to_version)
    move.time.FromSeconds(second)
    return move


def _at(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def test_the_moment_of_a_move_belongs_to_it() -> None:
    newest_first = [_move("production", 20, 2), _move("production", 10, 1)]
    told = [[move.to_version for move in find_last_moves(newest_first, _at(second))] for second in (9, 10, 19, 20, 99)]
    assert told == [[], [1], [1], [2], [2]]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), max_size=12), st.integers(-1, 13))
def test_it_is_what_replaying_the_moves_gives(moves: list[tuple[str, int]], second: int) -> None:
    replayed: dict[str, int] = {}
    for moved_at, (alias, version) in enumerate(moves):
        if moved_at <= second:
            replayed[alias] = version
    newest_first = [_move(alias, moved_at, version) for moved_at, (alias, version) in enumerate(moves)][::-1]
    found = {move.alias: move.to_version for move in find_last_moves(newest_first, _at(second))}
    assert found == {alias: version for alias, version in replayed.items() if version}
