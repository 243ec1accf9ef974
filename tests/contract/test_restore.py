"""A backup of either kind of database makes either kind what it was, or nothing changes."""

import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.db import holding
from controlplane.db.holding import hold_database
from controlplane.domain import Deployment
from controlplane.registry.sql.migrate import list_revisions, open_database
from controlplane.registry.sql.registry_store import SqlRegistryStore
from controlplane.registry.sql.state_store import SqlStateStore
from modelyard.errors import DataLossError, FailedPreconditionError
from modelyard.files import hold_data_folder
from tests.contract.conftest import make_url
from tests.harness.full_yard import fill_yard, read_rows, without_recorded
from tests.harness.old_databases import FILLERS, make_old_database
from tests.harness.postgres import Postgres
from tests.harness.records import NOW, make_alias, make_author, make_draft
from tests.harness.saved_yard import SavedYard, find_problems, make_backup, opened, restore_into


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL may be slow to see that a connection has ended, while other tests run."""
    monkeypatch.setattr(holding, "_PATIENCE_S", 60.0)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SavedYard:
    """A full yard of each kind of database."""
    return save_yard(request.param, request, tmp_path_factory.mktemp("saved"))


@pytest.fixture(scope="module")
def saved_sqlite(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SavedYard:
    """For tests to which the kind of the database that was backed up is the same."""
    return save_yard("sqlite", request, tmp_path_factory.mktemp("saved"))


def save_yard(kind: str, request: pytest.FixtureRequest, folder: Path) -> SavedYard:
    with make_url(kind, request, folder) as url:
        fill_yard(url)
        return SavedYard(make_backup(url, folder / "backup").path, read_rows(url))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder of the yard that a backup is restored into."""
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, data: Path) -> Iterator[str]:
    """The URL of a database with nothing in it."""
    with make_url(request.param, request, data) as made:
        yield made


def is_restored(url: str, saved: SavedYard) -> bool:
    return without_recorded(read_rows(url)) == without_recorded(saved.rows)


def test_a_backup_of_each_kind_restores_into_each_kind(saved: SavedYard, target: str, data: Path) -> None:
    restored = restore_into(target, saved.backup, data)
    assert is_restored(target, saved) and find_problems(target) == []
    assert restored.rows == {name: len(rows) for name, rows in saved.rows.items()}
    assert not any(row[-1] for row in read_rows(target)["lineage_facts"]), "the lineage store is to be filled anew"


def test_a_restored_yard_goes_on_from_where_it_was(saved: SavedYard, target: str, data: Path) -> None:
    restore_into(target, saved.backup, data)
    with opened(target) as database:
        registry, state = SqlRegistryStore(database), SqlStateStore(database)
        assert registry.create_version(make_draft(content="new"), NOW).number == 5
        registry.set_alias(make_alias(5))
        state.put_deployment(Deployment("resnet", "production", replicas=7), make_author())
    assert find_problems(target) == []


def test_a_backup_of_what_was_restored_has_the_same_rows(saved: SavedYard, target: str, data: Path) -> None:
    restore_into(target, saved.backup, data)
    again = make_backup(target, data / "again").path

    def lines(path: Path) -> list[bytes]:
        return sorted(gzip.decompress(path.read_bytes()).replace(b",true]", b",false]").splitlines()[1:-1])

    assert lines(again) == lines(saved.backup)


@pytest.mark.parametrize("revision", FILLERS)
def test_a_backup_of_each_earlier_schema_is_restored_and_brought_up_to_date(
    tmp_path: Path, target: str, data: Path, revision: str
) -> None:
    url = f"sqlite:///{tmp_path}/old.db"
    make_old_database(url, revision)
    made = make_backup(url, data / "backup")
    assert restore_into(target, made.path, data).schema == made.schema == revision
    upgraded = read_rows(url)  # opening it brings it up to date
    assert without_recorded(read_rows(target)) == without_recorded(upgraded) and find_problems(target) == []


def test_a_database_that_holds_a_yard_is_left_alone(saved_sqlite: SavedYard, target: str, data: Path) -> None:
    fill_yard(target)
    before = read_rows(target)
    with pytest.raises(FailedPreconditionError, match=r"not empty: restore into another, .*--replace"):
        restore_into(target, saved_sqlite.backup, data)
    assert read_rows(target) == before


def test_a_yard_in_which_nothing_happened_yet_may_be_replaced(saved_sqlite: SavedYard, target: str, data: Path) -> None:
    open_database(target).close()
    assert restore_into(target, saved_sqlite.backup, data).kept_aside == ()
    assert is_restored(target, saved_sqlite)


def test_what_is_replaced_is_kept_aside(saved_sqlite: SavedYard, target: str, data: Path) -> None:
    with opened(target) as database:
        SqlRegistryStore(database).create_version(make_draft("other"), NOW)
    before = read_rows(target)
    (kept,) = restore_into(target, saved_sqlite.backup, data, replace=True).kept_aside
    assert is_restored(target, saved_sqlite)
    in_schema = f"{target}&options=-csearch_path%3D{kept.removeprefix('schema ')}"
    assert read_rows(in_schema if kept.startswith("schema ") else f"sqlite:///{kept}") == before


def test_the_lineage_of_the_yard_that_goes_goes_with_it(saved_sqlite: SavedYard, data: Path) -> None:
    (data / "lineage.db").write_bytes(b"old lineage")
    (kept,) = restore_into(f"sqlite:///{data}/yard.db", saved_sqlite.backup, data).kept_aside
    assert Path(kept).read_bytes() == b"old lineage" and not (data / "lineage.db").exists()


def test_the_lineage_that_a_url_names_is_kept_aside(saved_sqlite: SavedYard, data: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.db"
    elsewhere.write_bytes(b"old lineage")
    url = f"sqlite:///{elsewhere}"
    (kept,) = restore_into(f"sqlite:///{data}/yard.db", saved_sqlite.backup, data, lineage_url=url).kept_aside
    assert Path(kept).read_bytes() == b"old lineage" and not elsewhere.exists()


def test_a_damaged_sqlite_file_is_replaced_and_kept(saved_sqlite: SavedYard, data: Path) -> None:
    (data / "yard.db").write_bytes(b"no database" * 1000)
    target = f"sqlite:///{data}/yard.db"
    with pytest.raises(FailedPreconditionError, match="--replace"):
        restore_into(target, saved_sqlite.backup, data)
    (kept,) = restore_into(target, saved_sqlite.backup, data, replace=True).kept_aside
    assert Path(kept).read_bytes() == b"no database" * 1000 and is_restored(target, saved_sqlite)


# Writes, and dies by SIGKILL: the write is in the log alone.
WRITER = """
import os, signal, sys
from controlplane.registry.sql.migrate import open_database

with open_database(sys.argv[1]).writing() as connection:
    connection.exec_driver_sql("UPDATE yard SET revision = 77")
    connection.commit()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def run(script: str, *arguments: str) -> int:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], check=False, env={**os.environ, "PYTHONPATH": "."}
    ).returncode


def test_a_log_that_was_left_is_not_taken_for_that_of_the_new_file(saved_sqlite: SavedYard, data: Path) -> None:
    target = f"sqlite:///{data}/yard.db"
    fill_yard(target)
    assert run(WRITER, target) == -signal.SIGKILL and (data / "yard.db-wal").stat().st_size > 0
    (kept,) = restore_into(target, saved_sqlite.backup, data, replace=True).kept_aside
    assert is_restored(target, saved_sqlite)
    assert read_rows(f"sqlite:///{kept}")["yard"][0][1] == 77


@pytest.fixture(params=["cut off", "a byte", "a line less"])
def damaged(request: pytest.FixtureRequest, saved_sqlite: SavedYard, tmp_path: Path) -> Path:
    content = saved_sqlite.backup.read_bytes()
    middle = len(content) // 2
    lines = gzip.decompress(content).splitlines(keepends=True)
    damages = {
        "cut off": content[:middle],
        "a byte": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "a line less": gzip.compress(b"".join([*lines[:5], *lines[6:]])),
    }
    path = tmp_path / "damaged"
    path.write_bytes(damages[request.param])
    return path


def test_a_damaged_backup_changes_nothing(damaged: Path, target: str, data: Path) -> None:
    fill_yard(target)
    before, files = read_rows(target), sorted(path.name for path in data.iterdir())
    with pytest.raises(DataLossError, match="another backup"):
        restore_into(target, damaged, data, replace=True)
    assert sorted(path.name for path in data.iterdir()) == files and read_rows(target) == before


def test_a_backup_of_a_newer_program_is_refused(saved_sqlite: SavedYard, data: Path) -> None:
    lines = gzip.decompress(saved_sqlite.backup.read_bytes()).splitlines(keepends=True)
    newer = lines[0].replace(list_revisions()[-1].encode(), b"9999")
    (data / "newer").write_bytes(gzip.compress(b"".join([newer, *lines[1:]])))
    with pytest.raises(FailedPreconditionError, match=r"newer Modelyard \(schema 9999"):
        restore_into(f"sqlite:///{data}/yard.db", data / "newer", data)


# Restores and dies by SIGKILL when it says what the third argument says.
KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from controlplane.db.restore import restore

def tell(text):
    if text == sys.argv[4]:
        os.kill(os.getpid(), signal.SIGKILL)

backup, data, url = sys.argv[1:4]
restore(Path(backup), Path(data), url, replace=True, now=datetime.now(UTC), tell=tell)
"""


@pytest.mark.slow
@pytest.mark.parametrize("step", ["restoring versions", "restoring yard"])
def test_a_restore_that_is_killed_leaves_the_yard_that_was_there(
    saved_sqlite: SavedYard, target: str, data: Path, step: str
) -> None:
    with opened(target) as database:
        SqlRegistryStore(database).create_version(make_draft("other"), NOW)
    before = read_rows(target)
    assert run(KILLED, str(saved_sqlite.backup), str(data), target, step) == -signal.SIGKILL
    assert read_rows(target) == before
    restore_into(target, saved_sqlite.backup, data, replace=True)
    assert is_restored(target, saved_sqlite)


@pytest.fixture
def impatient(patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "_PATIENCE_S", 0.1)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("held", ["folder", "database"])
def test_nothing_is_restored_while_a_controller_runs(
    saved_sqlite: SavedYard, target: str, data: Path, held: str
) -> None:
    # A controller of the same database may have another folder.
    controller = hold_data_folder(data, "controller") if held == "folder" else hold_database(target)
    used_data = data if held == "folder" else data / "another"
    with controller, pytest.raises(FailedPreconditionError, match=r"in use by another controller.*stop it"):
        restore_into(target, saved_sqlite.backup, used_data)


@pytest.mark.usefixtures("impatient")
def test_a_controller_of_postgresql_that_lost_its_lock_is_seen(
    saved_sqlite: SavedYard, postgres: Postgres, data: Path
) -> None:
    refused = pytest.raises(FailedPreconditionError, match=r"is in use by .*stop the controller")
    with postgres.make_database() as target, opened(target), refused:
        restore_into(target, saved_sqlite.backup, data)


@pytest.mark.usefixtures("impatient")
def test_two_controllers_do_not_share_a_database(url: str) -> None:
    with hold_database(url), pytest.raises(FailedPreconditionError, match="another controller"), hold_database(url):
        pass


def test_a_database_is_let_go_with_its_controller(url: str) -> None:
    with hold_database(url):
        pass
    with hold_database(url):
        pass
