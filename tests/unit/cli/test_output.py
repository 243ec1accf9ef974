"""What commands print."""

import json
import sys

import pytest

from modelyard.cli import output
from modelyard.v1 import resources_pb2


def test_messages_become_json_that_scripts_can_use() -> None:
    version = resources_pb2.Version(number=2**40, format=resources_pb2.MODEL_FORMAT_ONNX, metrics={"b": 0.5, "a": 1.0})
    version.signature.inputs.add(name="x", datatype="FP32", shape=[-1, 3])
    version.create_time.FromJsonString("2026-01-02T03:04:05Z")
    plain = output.to_plain(version)
    assert json.loads(json.dumps(plain)) == plain
    assert plain["number"] == 2**40 and plain["format"] == "ONNX"
    assert list(plain["metrics"].items()) == [("a", 1.0), ("b", 0.5)]
    assert plain["signature"] == {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}], "outputs": []}
    assert plain["create_time"] == "2026-01-02T03:04:05Z"
    assert plain["description"] == "" and plain["tags"] == {}


def test_an_unset_message_is_null_and_enums_lose_their_prefix() -> None:
    replica = resources_pb2.Replica(state=resources_pb2.REPLICA_STATE_READY)
    plain = output.to_plain(replica)
    assert plain["allocation"] is None and plain["state"] == "READY"
    status = resources_pb2.DeploymentStatus(state=resources_pb2.DeploymentStatus.DEGRADED)
    assert output.to_plain(status)["state"] == "DEGRADED"


def test_a_table_is_plain_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["NAME", "VALUE"], [("a", 1), ("longer [b]", ""), ("c" * 200, None)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "VALUE"]
    assert lines[1].split() == ["a", "1"] and lines[2].endswith("-")
    assert len({line.find("VALUE") for line in lines[:1]} | {lines[1].find("1"), lines[2].rfind("-")}) == 1
    assert "c" * 200 in lines[3]


def test_an_empty_table_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["NAME"], [], empty="none: make one")
    output.print_table(["NAME"], [], title="Things", empty="none: make one")
    assert capsys.readouterr().out == "none: make one\nThings: none: make one\n"


@pytest.mark.parametrize(("columns", "folds"), [(40, False), (200, True)])
def test_a_terminal_too_narrow_for_a_table_gets_whole_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int, folds: bool
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    address = "127.0.0.1:46399" + "9" * 30
    output.print_table(["ADDRESS", "MESSAGE"], [(address, "word " * 60)])
    lines = capsys.readouterr().out.splitlines()
    assert any(address in line for line in lines)
    assert any(len(line) > columns and "\x1b" not in line for line in lines) is not folds
