"""`modelyard db` as people and scripts run it, beside a controller that runs and without one."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controlplane.registry.sql.migrate import list_revisions
from tests.harness.full_yard import CONTENTS, file_of, fill_yard, keep_files, read_rows, without_recorded
from tests.harness.old_databases import make_old_database
from tests.harness.programs import Program, wait_for
from tests.harness.saved_yard import opened

NEWEST = list_revisions()[-1]


def run(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "modelyard.cli", "db", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=100,
    )


def run_json(*arguments: object, status: int = 0) -> Any:
    result = run(*arguments, "--json")
    assert result.returncode == status, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder of a controller with a full yard in it."""
    folder = tmp_path / "controller"
    folder.mkdir()
    fill_yard(url_of(folder))
    keep_files(folder / "artifacts")
    return folder


def url_of(data: Path) -> str:
    return f"sqlite:///{data}/yard.db"


@pytest.fixture
def controller(data: Path, tmp_path: Path) -> Iterator[Program]:
    program = Program("controlplane", ["--listen", "127.0.0.1:0", "--data", str(data)], tmp_path / "log")
    program.start()
    yield program
    program.kill()


@pytest.mark.parametrize("command", ["check", "backup", "restore", "upgrade"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.returncode == 0 and f"Example: modelyard db {command}" in result.stdout
    assert f"Usage: modelyard db {command}" in result.stdout


def test_a_wrong_command_line_is_told_as_such() -> None:
    assert run("mend").returncode == 2 and run("backup").returncode == 2
    assert "No such option" in run("check", "--replace").stderr


@pytest.mark.slow
def test_a_yard_moves_to_another_folder(data: Path, tmp_path: Path) -> None:
    made = run_json("backup", tmp_path, "--data", data)
    assert Path(made["path"]).parent == tmp_path and made["schema"] == NEWEST and made["rows"]["versions"] == 5
    new = tmp_path / "new"
    restored = run("restore", made["path"], "--data", new)
    assert restored.returncode == 0 and "restored what it was at" in restored.stdout and "5 versions" in restored.stdout
    assert without_recorded(read_rows(url_of(new))) == without_recorded(read_rows(url_of(data)))
    assert (new / "yard.db").stat().st_mode & 0o077 == 0 and Path(made["path"]).stat().st_mode & 0o077 == 0
    # The files are where they were: they go to the new place by any copy.
    (data / "artifacts").rename(new / "artifacts")
    checked = run("check", "--data", new, "--read-files")
    assert checked.returncode == 0 and checked.stdout.splitlines()[-1].startswith("all is well: 2 models, 5 versions")


def test_what_is_wrong_is_told_with_status_1(data: Path) -> None:
    file_of(data / "artifacts", CONTENTS[0]).unlink()
    result = run("check", "--data", data)
    assert result.returncode == 1 and "files: the file of resnet@1 is not there" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("NOT WELL")
    (problem,) = run_json("check", "--data", data, status=1)["problems"]
    assert problem["check"] == "files" and "copy it there" in problem["message"]


@pytest.mark.slow
def test_where_things_are_may_stand_in_the_environment_and_in_a_file(data: Path, tmp_path: Path) -> None:
    (data / "artifacts").rename(tmp_path / "files")
    config = tmp_path / "yard.toml"
    config.write_text(f'[controller]\nartifacts-url = "{tmp_path}/files"\nnode_lost_after_s = 60\n')
    assert run("check", "--config", config, MODELYARD_CONTROLLER_DATA=str(data)).returncode == 0
    assert run("check", "--config", config, "--artifacts-url", tmp_path / "other", "--data", data).returncode == 1
    config.write_text("[controller]\nbogus = 1\n")
    refused = run("check", "--config", config, "--data", data)
    assert refused.returncode == 1 and "bogus in [controller]" in refused.stderr


@pytest.mark.slow
def test_a_database_that_is_not_there_is_told_in_a_sentence_and_not_made(tmp_path: Path) -> None:
    for command in (["check"], ["backup", tmp_path], ["upgrade"]):
        error = run_json(*command, "--data", tmp_path / "no", status=1)["error"]
        assert error["code"] == "NOT_FOUND" and "--data" in error["message"]
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check", "backup", "upgrade"])
def test_the_folder_of_a_whole_yard_leads_to_that_of_its_controller(data: Path, tmp_path: Path, command: str) -> None:
    """`modelyard up --data FOLDER` keeps the controller's part in FOLDER/controller."""
    words = [command, tmp_path / "backup"] if command == "backup" else [command]
    error = run_json(*words, "--data", tmp_path, status=1)["error"]
    assert error["code"] == "NOT_FOUND"
    assert error["message"].endswith(f"there is one below it, give --data {data}")
    assert [path.name for path in tmp_path.iterdir()] == ["controller"]
    assert run(*words, "--data", data).returncode == 0


def test_a_damaged_backup_is_refused_in_a_sentence(data: Path, tmp_path: Path) -> None:
    path = Path(run_json("backup", tmp_path / "b", "--data", data)["path"])
    path.write_bytes(path.read_bytes()[:-20])
    result = run("restore", path, "--data", tmp_path / "new")
    assert (result.returncode, result.stdout) == (1, "") and "is cut off" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "new" / "yard.db").exists()


@pytest.mark.usefixtures("controller")
def test_beside_a_controller_a_yard_is_checked_and_backed_up_and_not_restored(data: Path, tmp_path: Path) -> None:
    assert run("check", "--data", data, "--read-files").returncode == 0
    made = run_json("backup", tmp_path / "backup", "--data", data)
    for command in (["restore", made["path"], "--replace"], ["upgrade"]):
        refused = run(*command, "--data", data)
        assert refused.returncode == 1 and "is in use by another controller, process" in refused.stderr
    assert run("check", "--data", data).returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_after_a_restore_the_lineage_is_filled_again(data: Path, controller: Program, tmp_path: Path) -> None:
    def is_recorded() -> bool:
        with opened(url_of(data)) as database, database.reading() as connection:
            left = connection.exec_driver_sql("SELECT count(*) FROM lineage_facts WHERE NOT recorded").scalar()
            return left == 0

    wait_for(is_recorded, "the lineage of the yard", 100)
    made = run_json("backup", tmp_path / "backup", "--data", data)
    controller.stop()
    restored = run_json("restore", made["path"], "--data", data, "--replace")
    assert [Path(kept).name.split(".before")[0] for kept in restored["kept_aside"]] == ["lineage.db", "yard.db"]
    assert not is_recorded()
    controller.start()
    wait_for(is_recorded, "the lineage of the restored yard", 100)
    controller.stop()
    assert run_json("check", "--data", data, "--lineage", "--read-files")["problems"] == []


@pytest.mark.slow
def test_an_older_schema_is_backed_up_and_upgraded(tmp_path: Path) -> None:
    make_old_database(url_of(tmp_path), "0001")
    assert "modelyard db upgrade" in run("check", "--data", tmp_path).stdout
    assert run_json("backup", tmp_path / "backup", "--data", tmp_path)["schema"] == "0001"
    assert run_json("upgrade", "--data", tmp_path) == {"before": "0001", "after": NEWEST}
    assert run("upgrade", "--data", tmp_path).stdout == f"the schema is {NEWEST} already\n"
