"""A yard that has an alias from before its name was reserved goes on with it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from modelyard.cli.app import make_app
from tests.harness.onnx_pieces import linear_bytes
from tests.harness.programs import Program


def run(program: Program, *arguments: str) -> Result:
    environment = {"MODELYARD_CONTROLLER": program.facts["address"]}
    return CliRunner().invoke(make_app(), list(arguments), env=environment)


@pytest.mark.slow
def test_an_older_alias_is_moved_and_removed_as_any_other(tmp_path: Path) -> None:
    data = tmp_path / "controller"
    program = Program("controlplane", ["--listen", "127.0.0.1:0", "--data", str(data)], tmp_path / "log")
    try:
        program.start()
        for seed in (1, 2):
            (tmp_path / "model.onnx").write_bytes(linear_bytes(seed=seed))
            run(program, "register", "resnet", str(tmp_path / "model.onnx"))
        assert run(program, "alias", "set", "resnet", "old", "1").exit_code == 0
        program.stop()
        with closing(sqlite3.connect(data / "yard.db")) as database, database:
            database.execute("UPDATE aliases SET name = 'latest' WHERE name = 'old'")
            database.execute("UPDATE alias_moves SET alias = 'latest' WHERE alias = 'old'")
        program.start()
        assert run(program, "alias", "set", "resnet", "latest", "2").stdout == "resnet@latest -> resnet@2\n"
        assert run(program, "rollback", "resnet", "--alias", "latest").exit_code == 0
        assert run(program, "alias", "remove", "resnet", "latest").exit_code == 0
        again = run(program, "alias", "set", "resnet", "latest", "2")
        assert again.exit_code == 1 and "would be read as" in again.stderr
    finally:
        program.stop()
