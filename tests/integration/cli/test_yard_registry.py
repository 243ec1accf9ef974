"""The registry's commands against a real controller: from a file to its record, and all that is done with that."""

import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner, Result

from modelyard.cli.app import make_app
from tests.harness.onnx_pieces import linear_bytes, make_linear
from tests.harness.programs import Program, wait_for

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a controller."""
    folder = tmp_path_factory.mktemp("yard")
    arguments = ["--listen", "127.0.0.1:0", "--data", str(folder / "controller")]
    program = Program("controlplane", arguments, folder / "log")
    program.start()
    yield program.facts["address"]
    assert program.stop() == 0, program.log_tail()


@pytest.fixture
def run(yard: str) -> Run:
    def invoke(*arguments: str | Path, fails: bool = False) -> Result:
        environment = {"MODELYARD_CONTROLLER": yard, "LOGNAME": "ann"}
        result = CliRunner().invoke(make_app(), [str(argument) for argument in arguments], env=environment)
        assert (result.exit_code != 0) is fails, result.output
        return result

    return invoke


@pytest.fixture
def ask(run: Run) -> Callable[..., Any]:
    return lambda *arguments: json.loads(run(*arguments, "--json").stdout)


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    """A name of this test's own."""
    return str(request.node.name).partition("[")[0][:90]


@pytest.fixture
def onnx_file(tmp_path: Path) -> Callable[[int], Path]:
    def write(seed: int) -> Path:
        path = tmp_path / f"{seed}.onnx"
        path.write_bytes(linear_bytes(seed=seed))
        return path

    return write


@pytest.fixture
def onnx_folder(tmp_path: Path) -> Path:
    """An ONNX file with its weights beside it."""
    folder = tmp_path / "with-weights"
    folder.mkdir()
    onnx.save_model(
        make_linear(seed=99),
        str(folder / "model.onnx"),
        save_as_external_data=True,
        location="weights.data",
        size_threshold=0,
    )
    return folder


def test_a_file_becomes_a_record(run: Run, ask: Any, model: str, onnx_file: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "sample.npz", x=np.ones((2, 3), np.float32))
    told = run(
        "register", model, onnx_file(1), "--description", "first", "--user", "ann", "--metric", "top1=0.5",
        "--param", "lr=0.1", "--tag", "team=vision", "--sample", tmp_path / "sample.npz", "--git-commit", "abc123",
        "--training-run", "run-7", "--dataset", "s3://data/train",
    )  # fmt: skip
    assert told.stdout == f"{model}@1\n"
    shown = ask("show", f"{model}@1")
    assert (shown["format"], shown["packaging"], shown["description"]) == ("ONNX", "FILE", "first")
    assert shown["source"] == {
        "git_commit": "abc123",
        "training_run": "run-7",
        "dataset_uri": "s3://data/train",
        "uri": "",
    }
    assert shown["sample"]["is_made"] is False and shown["details"]["onnx"]["opsets"] == {"": 17}
    text = run("show", f"{model}@1").stdout
    for part in ("FP32[-1, 3]", "ai.onnx 17", "run-7", "team", shown["sha256"], "given"):
        assert part in text


def test_a_folder_and_its_archive_are_one_content(run: Run, ask: Any, model: str, onnx_folder: Path) -> None:
    assert run("register", model, onnx_folder).stdout == f"{model}@1\n"
    shown = ask("show", f"{model}@1")
    assert shown["packaging"] == "TAR" and shown["details"]["onnx"]["external_data_files"] == ["weights.data"]
    archive = onnx_folder.with_name("model.tar.gz")
    with tarfile.open(archive, "w:gz") as file:
        file.add(onnx_folder, arcname=".")
    assert "exactly these bytes" in run("register", model, archive, fails=True).stderr
    assert run("register", model, archive, "--exist-ok").stdout == f"{model}@1\n"


def test_a_uri_is_read_by_the_controller(run: Run, ask: Any, model: str, onnx_file: Any) -> None:
    path = onnx_file(2)
    assert run("register", model, f"file://{path}", "--tag", "from=uri").stdout == f"{model}@1\n"
    shown = ask("show", f"{model}@1")
    assert shown["size_bytes"] == path.stat().st_size and shown["tags"] == {"from": "uri"}
    assert run("register", model, f"file://{path}", "--exist-ok").stdout == f"{model}@1\n"
    assert "no/such" in run("register", model, "file:///no/such/model.onnx", fails=True).stderr


def test_a_folder_comes_back_as_it_went(run: Run, model: str, onnx_folder: Path, tmp_path: Path) -> None:
    run("register", model, onnx_folder)
    run("fetch", f"{model}@1", tmp_path / "back")
    assert {path.name: path.read_bytes() for path in (tmp_path / "back").iterdir()} == {
        path.name: path.read_bytes() for path in onnx_folder.iterdir()
    }
    again = run("fetch", f"{model}@1", tmp_path / "back", fails=True)
    assert "is there already" in again.stderr


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_export_and_import_lose_nothing(
    request: pytest.FixtureRequest, run: Run, ask: Any, tmp_path: Path, kind: str
) -> None:
    path = request.getfixturevalue("onnx_file")(3) if kind == "file" else request.getfixturevalue("onnx_folder")
    first, second = f"traveller-{kind}", f"traveller-{kind}-copy"
    np.savez(tmp_path / "sample.npz", x=np.full((1, 3), 7, np.float32))
    run(
        "register", first, path, "--description", "täglich\nneu", "--user", "bob", "--metric", "top1=0.1",
        "--metric", "loss=1e-300", "--param", "lr=0.1", "--tag", "team=vision",
        "--sample", tmp_path / "sample.npz", "--training-run", "run-7",
    )  # fmt: skip
    run("update", f"{first}@1", "--tag", "night=yes", "--metric", "auc=0.9")
    run("export", f"{first}@1", tmp_path / "out")
    assert run("import", tmp_path / "out", "--as", second).stdout == f"{second}@1\n"
    one, other = ask("show", f"{first}@1"), ask("show", f"{second}@1")
    assert other["origin"] == {"model_id": f"{first}@1", "user": "bob", "create_time": one["create_time"]}
    own = {"name", "model_id", "model", "create_time", "origin", "revision", "changes"}
    for record in (one, other):
        assert own <= set(record)
    assert {key: value for key, value in one.items() if key not in own} == {
        key: value for key, value in other.items() if key not in own
    }
    run("import", tmp_path / "out", "--as", second, fails=True)
    assert run("import", tmp_path / "out", "--as", second, "--exist-ok").stdout == f"{second}@1\n"


def test_an_export_that_was_tampered_with_is_refused(
    run: Run, ask: Any, model: str, onnx_file: Any, tmp_path: Path
) -> None:
    run("register", model, onnx_file(4))
    run("export", f"{model}@1", tmp_path / "out")
    shutil.copy(onnx_file(5), tmp_path / "out" / "model.onnx")
    refused = run("import", tmp_path / "out", "--as", f"{model}-copy", fails=True)
    assert "is not what was exported" in refused.stderr
    assert f"{model}-copy" not in [found["model"] for found in ask("models")]


def test_versions_are_found_by_what_they_are(run: Run, ask: Any, model: str, onnx_file: Any) -> None:
    for seed, top1, team in ((6, 0.7, "vision"), (7, 0.9, "vision"), (8, 0.8, "audio")):
        run("register", model, onnx_file(seed), "--metric", f"top1={top1}", "--tag", f"team={team}")
    order = ("--order-by", "metrics.top1", "--desc")
    assert [found["number"] for found in ask("versions", model, *order)] == [2, 3, 1]
    assert [found["number"] for found in ask("versions", model, *order, "--limit", "2")] == [2, 3]
    picked = ask("versions", "--filter", f'name = "{model}" and metrics.top1 > 0.75 and tags.team = "vision"')
    assert [found["model_id"] for found in picked] == [f"{model}@2"]
    assert "no version is like that" in run("versions", model, "--filter", "metrics.top1 > 1").stdout
    assert "colour" in run("versions", "--filter", "colour = red", fails=True).stderr


def test_what_may_change_changes_with_who_and_why(run: Run, ask: Any, model: str, onnx_file: Any) -> None:
    run("register", model, onnx_file(9), "--tag", "team=vision", "--metric", "top1=0.5")
    told = run("update", f"{model}@1", "--tag", "team=audio", "--description", "new", "--reason", "moved")
    assert told.stdout == f"{model}@1 changed: revision 1\n"
    assert run("update", f"{model}@1", "--tag", "team=audio").stdout == f"{model}@1 is so already\n"
    shown = ask("show", f"{model}@1")
    assert [(change["user"], change["reason"]) for change in shown["changes"]] == [("ann", "moved")]
    text = run("show", f"{model}@1").stdout
    assert "tags.team: vision -> audio" in text and "description: '' -> 'new'" in text and "ann: moved" in text
    run("update", f"{model}@1", "--metric", "top1=0.6", fails=True)
    run("update", f"{model}@1", "--remove-tag", "team")
    assert ask("show", f"{model}@1")["tags"] == {}


def test_an_alias_has_a_history_and_a_way_back(run: Run, ask: Any, model: str, onnx_file: Any) -> None:
    for seed in (10, 11, 12):
        run("register", model, onnx_file(seed))
    for number in (1, 2, 3):
        run("alias", "set", model, "production", str(number), "--reason", f"step {number}")
    assert run("rollback", model, "--reason", "bad nights").stdout == f"{model}@production rolled back from 3 to 2\n"
    moves = ask("history", model, "--alias", "production")
    assert [(move["kind"], move["from_version"], move["to_version"]) for move in moves] == [
        ("ROLLBACK", 3, 2), ("SET", 2, 3), ("SET", 1, 2), ("SET", 0, 1),
    ]  # fmt: skip
    assert "rolled back to 2" in run("history", model).stdout
    then = ask("history", model, "--at", moves[1]["time"])
    assert [(move["alias"], move["to_version"]) for move in then] == [("production", 3)]
    assert ask("history", model, "--at", "2001-01-01") == []
    assert run("rollback", model).stdout == f"{model}@production rolled back from 2 to 1\n"
    run("rollback", model, fails=True)


def test_of_two_who_move_an_alias_one_is_told(run: Run, ask: Any, model: str, onnx_file: Any) -> None:
    run("register", model, onnx_file(13))
    run("register", model, onnx_file(14))
    run("alias", "set", model, "production", "1", "--expect", "0")
    late = run("alias", "set", model, "production", "2", "--expect", "0", "--json", fails=True)
    assert json.loads(late.stdout)["error"]["code"] == "ABORTED" and "ann" in late.stderr
    run("rollback", model, "--expect", "2", fails=True)
    run("alias", "remove", model, "production", "--expect", "2", fails=True)
    assert [alias["version"] for alias in ask("alias", "list", model)] == [1]


def test_a_reserved_word_is_no_alias(run: Run, model: str, onnx_file: Any) -> None:
    run("register", model, onnx_file(15))
    refused = run("alias", "set", model, "latest", "1", fails=True)
    assert "would be read as the newest version" in refused.stderr


def test_aliases_are_compared(run: Run, ask: Any, model: str, onnx_file: Any) -> None:
    run("register", model, onnx_file(16), "--metric", "top1=0.75", "--param", "lr=0.1")
    run("register", model, onnx_file(17), "--metric", "top1=0.78125", "--param", "lr=0.1")
    run("alias", "set", model, "production", "1")
    text = run("alias", "compare", model, "production", "2").stdout
    assert f"production ({model}@1)" in text and "+0.03125" in text and "lr" not in text
    differences = ask("alias", "compare", model, "production", "2")["differences"]
    assert {difference["field"]: difference["change"] for difference in differences} == {"metrics.top1": 0.03125}
    assert "no alias 'staging'" in run("alias", "compare", model, "staging", "2", fails=True).stderr


def test_a_version_is_deleted_brought_back_and_purged(
    run: Run, ask: Any, model: str, onnx_file: Any, tmp_path: Path
) -> None:
    run("register", model, onnx_file(18))
    run("register", model, onnx_file(19))
    run("alias", "set", model, "production", "1")
    assert "production" in run("delete", f"{model}@1", fails=True).stderr
    run("delete", f"{model}@2", "--reason", "wrong labels")
    assert [found["number"] for found in ask("versions", model)] == [1]
    assert "(deleted)" in run("versions", model, "--deleted").stdout
    run("restore", f"{model}@2")
    run("delete", f"{model}@2")
    assert "there is nothing to purge" in run("purge", "--older-than", "1d", "--dry-run").stdout
    assert "was deleted at" in run("purge", f"{model}@2", "--older-than", "1d", "--dry-run", fails=True).stderr
    assert "1 version with" in run("purge", f"{model}@2", "--dry-run").stdout
    assert "--yes" in run("purge", f"{model}@2", fails=True).stderr
    run("fetch", f"{model}@2", tmp_path / "still.onnx")
    assert "removed" in run("purge", f"{model}@2", "--yes").stdout
    assert "were purged" in run("fetch", f"{model}@2", tmp_path / "gone.onnx", fails=True).stderr
    assert "(purged)" in run("versions", model, "--deleted").stdout
    run("restore", f"{model}@2", fails=True)


def test_a_model_without_a_version_left_says_where_they_are(run: Run, ask: Any, model: str, onnx_file: Any) -> None:
    def find_line() -> str:
        (line,) = (line for line in run("models").stdout.splitlines() if line.split()[0] == model)
        return line

    for seed in (21, 22):
        run("register", model, onnx_file(seed))
    run("delete", f"{model}@2")
    assert "all deleted" not in find_line()
    run("delete", f"{model}@1")
    told = run("versions", model).stdout
    assert told == f"all versions are deleted: modelyard versions {model} --deleted\n"
    assert ask("versions", model) == []
    assert [found["number"] for found in ask("versions", model, "--deleted")] == [2, 1]
    assert "no version is like that" in run("versions", model, "--filter", "number = 1").stdout
    assert "2 (all deleted)" in find_line()
    assert [found["latest_version"] for found in ask("models") if found["model"] == model] == [2]
    run("restore", f"{model}@1")
    assert "all deleted" not in find_line()


@pytest.mark.parametrize("flags", [[], ["--yes"], ["--dry-run"]])
def test_what_was_purged_is_not_purged_again(run: Run, ask: Any, onnx_file: Any, flags: list[str]) -> None:
    model = f"purged-once{''.join(flags)}"
    run("register", model, onnx_file(23))
    run("delete", f"{model}@1")
    assert "1 version with" in run("purge", f"{model}@1", "--yes").stdout
    purged_at = ask("show", f"{model}@1")["purge_time"]
    again = run("purge", f"{model}@1", *flags)
    assert again.stdout == f"{model}@1 was purged already\nthere is nothing to purge\n"
    counted = ask("purge", f"{model}@1", *flags)
    assert (counted["versions"], counted["version_count"], counted["removed_files"]) == ([], 0, 0)
    assert ask("show", f"{model}@1")["purge_time"] == purged_at


def test_the_lineage_is_a_tree_and_json(run: Run, ask: Any, model: str, onnx_file: Any) -> None:
    run("register", model, onnx_file(20), "--training-run", "run-7", "--dataset", "s3://data/train")
    run("alias", "set", model, "production", "1")
    wait_for(lambda: ask("lineage", f"{model}@1")["pending"] == 0, "the record in the lineage store")
    found = ask("lineage", f"{model}@1")
    assert found["version_id"] in {node["id"] for node in found["nodes"]}
    lines = run("lineage", f"{model}@1").stdout.splitlines()
    assert f"{model}@1" in lines[0]
    came = "\n".join(lines[lines.index("├─ came from") : lines.index("├─ belongs to")])
    assert "run-7" in came and "s3://data/train" in came
