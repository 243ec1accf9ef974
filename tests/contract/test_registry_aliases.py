"""What every RegistryStore does with aliases and their history."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from controlplane.domain import AliasMove, Author, MoveKind
from controlplane.registry.store import RegistryStore
from modelyard.errors import AbortedError, FailedPreconditionError, NotFoundError
from tests.harness.records import NOW, make_alias, make_author, make_draft

PRODUCTION = ("resnet", "production")


@pytest.fixture(autouse=True)
def three_versions(registry: RegistryStore) -> None:
    for content in "abc":
        registry.create_version(make_draft(content=content), NOW)


def read_aliases(registry: RegistryStore) -> dict[str, int]:
    return {alias.name: alias.version for alias in registry.get_model("resnet").aliases}


def list_places(registry: RegistryStore, alias: str = "production") -> list[tuple[MoveKind, int | None, int | None]]:
    """Oldest first: kind, from, to."""
    moves = registry.list_moves("resnet", alias, 100, "").items
    return [(move.kind, move.from_version, move.to_version) for move in reversed(moves)]


def test_an_alias_is_made_and_moved(registry: RegistryStore) -> None:
    assert registry.set_alias(make_alias(1)) == make_alias(1)
    later = make_alias(2, after_s=60)
    assert registry.set_alias(later) == later
    assert registry.get_model("resnet").aliases == (later,)
    author = Author(later.moved_at, "ann", "better")
    assert registry.list_moves("resnet", "production", 10, "").items == [
        AliasMove(*PRODUCTION, MoveKind.SET, 1, 2, author),
        AliasMove(*PRODUCTION, MoveKind.SET, None, 1, Author(NOW, "ann", "better")),
    ]


def test_an_alias_that_points_there_already_is_left_as_it_is(registry: RegistryStore) -> None:
    registry.set_alias(make_alias(1))
    assert registry.set_alias(make_alias(1, after_s=60)).moved_at == NOW
    assert len(list_places(registry)) == 1


def test_an_alias_points_only_to_what_is_there(registry: RegistryStore) -> None:
    with pytest.raises(NotFoundError, match="no model"):
        registry.set_alias(make_alias(1, "bert"))
    with pytest.raises(NotFoundError, match="no version 4"):
        registry.set_alias(make_alias(4))
    assert read_aliases(registry) == {}


def test_a_move_from_where_the_alias_is_not_is_aborted_and_says_who_moved_it(registry: RegistryStore) -> None:
    registry.set_alias(make_alias(1), 0)
    registry.set_alias(make_alias(2), 1)
    for move in (
        lambda: registry.set_alias(make_alias(3), 1),
        lambda: registry.roll_back_alias(*PRODUCTION, make_author(), 1),
        lambda: registry.delete_alias(*PRODUCTION, make_author(), 1),
    ):
        with pytest.raises(
            AbortedError,
            match=r"points to version 2, and you expected it to point to version 1: "
            r"ann pointed it to version 2 at 2026-01-02 03:04:05 UTC \(\"better\"\)",
        ):
            move()
    with pytest.raises(AbortedError, match="points to version 2, and you expected it not to be set: ann"):
        registry.set_alias(make_alias(3), 0)
    assert read_aliases(registry) == {"production": 2}


def test_a_move_of_what_was_removed_says_who_removed_it(registry: RegistryStore) -> None:
    with pytest.raises(AbortedError, match="is not set, and you expected it to point to version 1: it never was"):
        registry.set_alias(make_alias(2), 1)
    registry.set_alias(make_alias(1))
    registry.delete_alias(*PRODUCTION, make_author("", ""))
    with pytest.raises(AbortedError, match="somebody removed it at 2026-01-02 03:04:05 UTC; see modelyard history"):
        registry.set_alias(make_alias(2), 1)


def test_of_concurrent_moves_one_wins_and_the_others_are_told(registry: RegistryStore) -> None:
    registry.set_alias(make_alias(1))

    def move(attempt: int) -> str:
        try:
            registry.set_alias(make_alias(2 + attempt % 2), 1)
        except AbortedError as error:
            return error.message
        return ""

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(move, range(16)))
    assert answers.count("") == 1
    to = read_aliases(registry)["production"]
    assert all(f"ann pointed it to version {to}" in answer for answer in answers if answer)
    assert list_places(registry) == [(MoveKind.SET, None, 1), (MoveKind.SET, 1, to)]


def test_a_rollback_goes_back_step_by_step(registry: RegistryStore) -> None:
    for number in (1, 2, 3):
        registry.set_alias(make_alias(number))
    author = make_author()
    assert registry.roll_back_alias(*PRODUCTION, author) == AliasMove(*PRODUCTION, MoveKind.ROLLBACK, 3, 2, author)
    assert registry.get_model("resnet").aliases[0].user == "bob"
    assert registry.roll_back_alias(*PRODUCTION, author, 2).to_version == 1
    with pytest.raises(
        FailedPreconditionError, match=r"nothing before version 1, .*modelyard alias set resnet production"
    ):
        registry.roll_back_alias(*PRODUCTION, author)
    assert [kind for kind, _, _ in list_places(registry)] == [MoveKind.SET] * 3 + [MoveKind.ROLLBACK] * 2


def test_a_rollback_brings_back_what_was_removed(registry: RegistryStore) -> None:
    for number in (2, 1):
        registry.set_alias(make_alias(number))
    registry.delete_alias(*PRODUCTION, make_author())
    assert registry.roll_back_alias(*PRODUCTION, make_author()).from_version is None
    assert read_aliases(registry) == {"production": 1}
    assert registry.roll_back_alias(*PRODUCTION, make_author()).to_version == 2


def test_a_rollback_never_leads_to_where_the_alias_is(registry: RegistryStore) -> None:
    for number in (3, 1):
        registry.set_alias(make_alias(number))
    registry.delete_alias(*PRODUCTION, make_author())
    registry.set_alias(make_alias(1))
    assert registry.roll_back_alias(*PRODUCTION, make_author()).to_version == 3


def test_an_alias_that_never_was_is_not_rolled_back(registry: RegistryStore) -> None:
    registry.set_alias(make_alias(1, name="staging"))
    with pytest.raises(NotFoundError, match=r"no alias 'production' \(it has staging\)"):
        registry.roll_back_alias(*PRODUCTION, make_author())
    with pytest.raises(NotFoundError, match="no model"):
        registry.roll_back_alias("bert", "production", make_author())


def test_a_rollback_onto_a_deleted_version_says_how_to_restore_it(registry: RegistryStore) -> None:
    for number in (1, 2):
        registry.set_alias(make_alias(number))
    registry.delete_version("resnet", 1, make_author())
    with pytest.raises(FailedPreconditionError, match=r"pointed to resnet@1 before, .*modelyard restore resnet@1"):
        registry.roll_back_alias(*PRODUCTION, make_author())
    assert read_aliases(registry) == {"production": 2}
    registry.restore_version("resnet", 1, make_author())
    assert registry.roll_back_alias(*PRODUCTION, make_author()).to_version == 1


def test_a_rollback_onto_a_purged_version_says_to_point_the_alias_elsewhere(registry: RegistryStore) -> None:
    for number in (1, 2):
        registry.set_alias(make_alias(number))
    registry.delete_version("resnet", 1, make_author())
    registry.purge_version("resnet", 1, make_author())
    with pytest.raises(FailedPreconditionError, match="pointed to resnet@1 before") as caught:
        registry.roll_back_alias(*PRODUCTION, make_author())
    # Neither of the ways out that a version which is only deleted has, nor those of a file to be registered again.
    assert caught.value.message.endswith(
        "its files are gone; point the alias to another version: modelyard alias set resnet production VERSION"
    )
    assert read_aliases(registry) == {"production": 2}
    registry.set_alias(make_alias(3))
    assert registry.roll_back_alias(*PRODUCTION, make_author()).to_version == 2


def test_a_removed_alias_keeps_its_history(registry: RegistryStore) -> None:
    registry.set_alias(make_alias(1))
    registry.delete_alias(*PRODUCTION, make_author())
    assert read_aliases(registry) == {}
    assert list_places(registry) == [(MoveKind.SET, None, 1), (MoveKind.REMOVE, 1, None)]
    with pytest.raises(NotFoundError, match="it has none yet"):
        registry.delete_alias(*PRODUCTION, make_author())


def test_an_unknown_alias_is_refused_with_those_there_are(registry: RegistryStore) -> None:
    registry.set_alias(make_alias(1))
    with pytest.raises(NotFoundError, match="it has production"):
        registry.delete_alias("resnet", "staging", make_author())
    with pytest.raises(NotFoundError, match="it has production"):
        registry.list_moves("resnet", "staging", 10, "")
    assert registry.list_moves("resnet", "", 10, "").items


def test_moves_are_listed_newest_first_in_pages(registry: RegistryStore) -> None:
    registry.create_version(make_draft("bert"), NOW)
    registry.set_alias(make_alias(1, "bert"))
    for number, name in ((1, "staging"), (1, "production"), (2, "staging"), (2, "production"), (3, "staging")):
        registry.set_alias(make_alias(number, name=name))
    seen: list[tuple[str, int | None]] = []
    token = ""
    while True:
        page = registry.list_moves("resnet", "", 2, token)
        seen += [(move.alias, move.to_version) for move in page.items]
        token = page.next_token
        if not token:
            break
    assert seen == [("staging", 3), ("production", 2), ("staging", 2), ("production", 1), ("staging", 1)]
    assert [move.to_version for move in registry.list_moves("resnet", "staging", 10, "").items] == [3, 2, 1]
