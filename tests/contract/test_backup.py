"""A backup of either kind of database is one moment of it, whole or not there, and changes nothing."""

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from controlplane.db.backup import back_up
from controlplane.domain import VersionEdit
from controlplane.registry.sql.migrate import open_database
from controlplane.registry.sql.registry_store import SqlRegistryStore
from modelyard.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError, UnavailableError, YardError
from tests.harness.full_yard import Rows, fill_yard, read_rows
from tests.harness.old_databases import make_old_database
from tests.harness.records import NOW, make_alias, make_author, make_draft
from tests.harness.saved_yard import find_problems, make_backup, restore_into


def test_a_backup_changes_nothing(url: str, tmp_path: Path) -> None:
    make_old_database(url, "0001")
    make_backup(url, tmp_path / "first")
    make_backup(url, tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


class Writer(threading.Thread):
    """Registers, moves, edits and deletes without a pause. `wait_for_more` returns once it has done more."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._database = open_database(url)
        self._registry = SqlRegistryStore(self._database)
        self._ending = threading.Event()
        self._more = threading.Condition()
        self._rounds = 0

    def run(self) -> None:
        try:
            while not self._ending.is_set():
                self._write()
                with self._more:
                    self._rounds += 1
                    self._more.notify_all()
        finally:
            self._ending.set()
            with self._more:
                self._more.notify_all()
            self._database.close()

    def _write(self) -> None:
        draft = make_draft(content=f"written {self._rounds}", metrics={"round": self._rounds})
        number = self._registry.create_version(draft, NOW).number
        self._registry.edit_version("resnet", number, VersionEdit(set_tags={"round": "x"}), make_author(), None)
        self._registry.set_alias(make_alias(number))
        self._registry.set_alias(make_alias(number, name=f"own-{self._rounds % 7}"))
        self._registry.roll_back_alias("resnet", "production", make_author())

    def wait_for_more(self, _: object = None) -> None:
        with self._more:
            seen = self._rounds
            assert self._more.wait_for(lambda: self._rounds > seen or self._ending.is_set(), 60)
            assert not self._ending.is_set(), "the writer has died"

    def stop(self) -> None:
        self._ending.set()
        self.join()


def test_a_backup_under_a_writer_is_one_moment(url: str, tmp_path: Path) -> None:
    fill_yard(url)
    writer = Writer(url)
    writer.start()
    try:
        writer.wait_for_more()
        # Told before each table: between any two of them all the others change.
        made = back_up(url, tmp_path / "backup", NOW, writer.wait_for_more)
    finally:
        writer.stop()
    then = f"sqlite:///{tmp_path}/then.db"
    restore_into(then, made.path, tmp_path)
    assert find_problems(then) == []
    assert_is_a_past_of(read_rows(then), read_rows(url))


def assert_is_a_past_of(past: Rows, present: Rows) -> None:
    """What only ever grows is what it was, up to a moment before the last."""
    for name in ("alias_moves", "version_changes", "deployment_changes"):
        assert set(map(repr, past[name])) <= set(map(repr, present[name]))
    moves = sorted(row[0] for row in past["alias_moves"])
    assert moves == list(range(1, len(moves) + 1)) and len(moves) < len(present["alias_moves"])


def test_a_backup_never_takes_the_place_of_another(url: str, tmp_path: Path) -> None:
    fill_yard(url)
    first = make_backup(url, tmp_path / "backup").path
    content = first.read_bytes()
    with pytest.raises(AlreadyExistsError, match="another name"):
        make_backup(url, first)
    assert first.read_bytes() == content
    assert make_backup(url, tmp_path).path == tmp_path / "modelyard-20260102T030405Z.jsonl.gz"


def test_a_backup_that_fails_leaves_no_file(url: str, tmp_path: Path) -> None:
    fill_yard(url)
    (tmp_path / "backups").mkdir()

    def fail(text: str) -> None:
        if text == "backing up versions":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        back_up(url, tmp_path / "backups", NOW, fail)
    assert list((tmp_path / "backups").iterdir()) == []


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("sqlite:////nowhere/yard.db", NotFoundError),
        ("postgresql+psycopg://nobody@/nothing?host=/nowhere", UnavailableError),
        ("sqlite://", YardError),
        ("bogus", YardError),
    ],
)
def test_a_database_that_is_not_there_is_told_and_not_made(url: str, error: type[YardError], tmp_path: Path) -> None:
    with pytest.raises(error):
        make_backup(url, tmp_path / "backup")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_database_holds_no_yard(url: str, tmp_path: Path) -> None:
    database = sa.create_engine(url)
    database.connect().close()
    database.dispose()
    with pytest.raises(FailedPreconditionError, match="holds no yard"):
        make_backup(url, tmp_path / "backup")
