"""The commands against a controller that answers as the test says: what they send, print and exit with."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from modelyard.cli import waiting
from modelyard.cli.app import make_app
from modelyard.v1.resources_pb2 import DeploymentStatus, Replica, StartTimes

Run = Callable[..., Result]


@pytest.fixture
def run(controller: Any) -> Run:
    app = make_app()

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env={"MODELYARD_CONTROLLER": controller.address})

    return invoke


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(bytes(range(256)) * 10_000)
    return path


def test_registering_prints_the_model_id_alone(run: Run, controller: Any, model_file: Path) -> None:
    result = run(
        "register", "resnet", str(model_file), "--description", "first", "--user", "ann",
        "--metric", "top1=0.76", "--param", "epochs=90", "--tag", "team=vision",
    )  # fmt: skip
    assert (result.exit_code, result.stdout) == (0, "resnet@1\n")
    version = controller.versions[0]
    assert (version.description, version.user) == ("first", "ann")
    assert (dict(version.metrics), dict(version.parameters)) == ({"top1": 0.76}, {"epochs": "90"})
    assert dict(version.tags) == {"team": "vision"}


def test_the_same_file_is_refused_or_found(run: Run, model_file: Path, tmp_path: Path) -> None:
    run("register", "resnet", str(model_file))
    other = tmp_path / "other.onnx"
    other.write_bytes(b"other")
    assert run("register", "resnet", str(other)).stdout == "resnet@2\n"
    again = run("register", "resnet", str(model_file))
    assert again.exit_code == 1 and "resnet@1 has exactly these bytes" in again.stderr and again.stdout == ""
    found = run("register", "resnet", str(model_file), "--exist-ok")
    assert (found.exit_code, found.stdout) == (0, "resnet@1\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["register", "resnet", "/no/such/file"],
        ["register", "resnet", "MODEL", "--metric", "top1=good"],
        ["register", "resnet", "MODEL", "--tag", "x"],
        ["register", "resnet", "MODEL", "--sample", "/no/such.npz"],
        ["versions", "resnet", "--desc"],
        ["update", "resnet@1"],
        ["history", "resnet", "--at", "yesterday"],
        ["purge", "--older-than", "long"],
        ["deploy", "resnet", "--replicas", "0"],
        ["deploy", "resnet", "--memory", "much"],
        ["deploy", "resnet", "--gpu-share", "101"],
        ["deploy", "resnet", "--gpu-memory", "4 apples"],
        ["deploy", "resnet", "--max-batch", "1"],
        ["deploy", "resnet", "--batch-wait", "500"],
        ["deploy", "resnet", "--max-batch", "off", "--batch-wait", "500us"],
        ["node", "drain"],
        ["alias", "set", "resnet", "production", "first"],
        ["infer", "resnet"],
        ["infer", "resnet", "--input", "x=[1"],
        ["infer", "resnet", "--input", "x=@/no/such/file.npy"],
        ["nonsense"],
    ],
)
def test_a_wrong_command_line_is_told_without_asking_the_yard(
    run: Run, controller: Any, model_file: Path, arguments: list[str]
) -> None:
    result = run(*[argument.replace("MODEL", str(model_file)) for argument in arguments])
    assert result.exit_code == 2 and result.stdout == "" and "Error" in result.stderr
    assert not controller.versions and not controller.updates


def test_what_the_yard_refuses_is_told_in_its_own_words(run: Run) -> None:
    result = run("alias", "remove", "resnet", "production")
    assert result.exit_code == 1 and "undeploy it first" in result.stderr
    assert run("deploy", "../etc").exit_code == 1
    for command in ("show", "update --tag a=b", "delete", "restore", "lineage"):
        first, *rest = command.split()
        result = run(first, "resnet", *rest)
        assert result.exit_code == 1 and "resnet@3" in result.stderr, command


def test_where_no_yard_is_the_exit_code_says_so(run: Run) -> None:
    result = run("status", "--controller", "127.0.0.1:1")
    assert result.exit_code == 3 and "127.0.0.1:1" in result.stderr and "modelyard up" in result.stderr


def test_an_alias_is_set_and_listed(run: Run) -> None:
    result = run("alias", "set", "resnet", "staging", "2", "--reason", "better")
    assert result.stdout == "resnet@staging -> resnet@2\n"
    listed = json.loads(run("alias", "list", "resnet", "--json").stdout)
    assert [(alias["alias"], alias["version"], alias["reason"]) for alias in listed] == [("staging", 2, "better")]
    assert "staging=2" in run("models").stdout


def test_the_preset_aliases_are_listed_before_somebody_sets_them(run: Run) -> None:
    def listed() -> list[list[str]]:
        return [line.split(maxsplit=2)[:2] for line in run("alias", "list", "resnet").stdout.splitlines()[1:]]

    assert [row[0] for row in listed()] == ["production", "staging"]
    assert run("alias", "list", "resnet").stdout.count("not set") == 2
    assert json.loads(run("alias", "list", "resnet", "--json").stdout) == []
    run("alias", "set", "resnet", "staging", "2")
    assert listed() == [["staging", "2"], ["production", "not"]]
    for command in ([], ["list"], ["set"], ["remove"]):
        assert "preset" in run("alias", *command, "--help").stdout, command


def test_moving_a_deployed_alias_waits_until_it_is_moved(run: Run, controller: Any) -> None:
    run("deploy", "resnet", "--no-wait")
    moving = DeploymentStatus(state=DeploymentStatus.PROGRESSING, message="version 2: 0 of 1 replica ready")
    ready = DeploymentStatus(state=DeploymentStatus.READY, message="version 2 is served by 1 replica")
    controller.statuses = [moving, moving, ready]
    result = run("alias", "set", "resnet", "production", "2")
    assert result.exit_code == 0 and "0 of 1 replica ready" in result.stderr
    assert result.stdout.splitlines() == [
        "resnet@production -> resnet@2",
        "resnet@production: READY: version 2 is served by 1 replica",
    ]
    controller.statuses = [moving]
    assert run("alias", "set", "resnet", "production", "2", "--no-wait").exit_code == 0
    assert run("alias", "set", "resnet", "staging", "2").exit_code == 0  # nothing is deployed there
    late = run("alias", "set", "resnet", "production", "2", "--timeout", "0", "--json")
    assert late.exit_code == 4 and json.loads(late.stdout)["error"]["code"] == "DEADLINE_EXCEEDED"


def test_a_model_without_replicas_is_told_from_no_model(run: Run, controller: Any) -> None:
    assert run("replicas", "resnet").exit_code == 0
    for command in ("replicas", "versions"):
        result = run(command, "nope", "--json")
        assert result.exit_code == 1 and "there is no model 'nope'" in result.stderr
        assert json.loads(result.stdout) == {"error": {"code": "NOT_FOUND", "message": "there is no model 'nope'"}}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("alias remove resnet production", "FAILED_PRECONDITION"),
        ("deploy ../etc", "INVALID_ARGUMENT"),
        ("deploy resnet --replicas none", "INVALID_ARGUMENT"),
        ("status --controller 127.0.0.1:1", "UNAVAILABLE"),
        ("status --controller nonsense", "INVALID_ARGUMENT"),
        ("nonsense", "INVALID_ARGUMENT"),
    ],
)
def test_a_failure_is_one_json_object_where_json_is_asked_for(run: Run, arguments: str, code: str) -> None:
    result = run(*arguments.split(), "--json")
    error = json.loads(result.stdout)["error"]
    assert result.exit_code != 0 and error["code"] == code
    assert error["message"].split(":")[0].split()[-1] in result.stderr
    assert run(*arguments.split()).stdout == ""


@pytest.mark.parametrize(
    ("flags", "paths"),
    [
        ([], set()),
        (["--replicas", "2"], {"replicas"}),
        (["--no-retries", "--memory", "1GiB"], {"no_retries", "memory_bytes"}),
        (["--threads", "2", "--retries"], {"threads", "no_retries"}),
        (["--gpu-share", "25", "--gpu-memory", "4GiB"], {"gpu_percent", "gpu_memory_bytes"}),
        (["--gpu-share", "0", "--runtime", "any"], {"gpu_percent", "serving.runtime"}),
        (["--max-batch", "auto", "--batch-wait", "0"], {"serving.max_batch_rows", "serving.max_batch_wait_us"}),
    ],
)
def test_only_what_is_given_is_changed(run: Run, controller: Any, flags: list[str], paths: set[str]) -> None:
    run("deploy", "resnet", "--no-wait")
    created = controller.updates[0]
    assert created.allow_missing and set(created.update_mask.paths) == {"replicas", "threads"}
    assert (created.deployment.replicas, created.deployment.threads) == (1, 1)
    assert run("deploy", "resnet", "--no-wait", *flags).exit_code == 0
    assert set(controller.updates[1].update_mask.paths) == paths


def test_how_it_is_to_be_served_is_sent(run: Run, controller: Any) -> None:
    flags = "--gpu-share 25 --gpu-memory 4GiB --runtime triton --max-batch 16 --batch-wait 0.5ms"
    assert run("deploy", "resnet", "--no-wait", *flags.split()).exit_code == 0
    sent = controller.updates[0].deployment
    assert (sent.gpu_percent, sent.gpu_memory_bytes) == (25, 4 << 30)
    serving = sent.serving
    assert (serving.runtime, serving.max_batch_rows, serving.max_batch_wait_us) == ("triton", 16, 500)
    run("deploy", "resnet", "--no-wait", "--runtime", "any", "--max-batch", "off")
    serving = controller.updates[1].deployment.serving
    assert (serving.runtime, serving.max_batch_rows) == ("", 1)


def test_deploying_tells_what_the_start_of_the_slowest_new_replica_was_made_of(run: Run, controller: Any) -> None:
    controller.statuses = [DeploymentStatus(state=DeploymentStatus.READY, message="version 1 is served")]
    old = Replica(replica_id="r-1", start_times=StartTimes(load_s=99))
    quick = Replica(replica_id="r-2", start_times=StartTimes(load_s=0.1))
    slow = Replica(
        replica_id="r-3", start_times=StartTimes(fetch_s=0.015, start_s=0.3, load_s=0.2, warm_up_s=0.05, probe_s=0.004)
    )
    split = "0.57 s: fetch 0.015 s, start 0.3 s, load 0.2 s, warm-up 0.05 s, probe 0.004 s"
    controller.replicas = [[old], [old, quick, slow]]
    lines = run("deploy", "resnet").stdout.splitlines()
    assert lines == [
        "resnet@production: READY: version 1 is served",
        f"the slowest of 2 new replicas, r-3, started in {split}",
    ]
    controller.replicas = [[old], [old, slow]]
    assert run("deploy", "resnet").stdout.splitlines()[1] == f"r-3 started in {split}"
    controller.replicas = [[old], [old, Replica(replica_id="r-4")]]  # its agent is of an earlier release
    assert len(run("deploy", "resnet").stdout.splitlines()) == 1


def test_deploying_waits_until_it_is_ready(run: Run, controller: Any) -> None:
    pending = DeploymentStatus(state=DeploymentStatus.PENDING, message="version 1: 0 of 1 replica ready, 1 starting")
    controller.statuses = [pending, pending, DeploymentStatus(state=DeploymentStatus.READY, serving_version=1)]
    result = run("deploy", "resnet", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["status"]["state"] == "READY"
    assert "1 starting" in result.stderr


def test_deploying_waits_until_the_routers_follow(run: Run, controller: Any) -> None:
    controller.statuses = [DeploymentStatus(state=DeploymentStatus.READY, serving_version=1)]
    controller.yards = [controller.make_yard(applied_version=version) for version in (5, 6, 7, 1)]
    result = run("deploy", "resnet")
    assert result.exit_code == 0 and "the routers are told" in result.stderr
    assert [left.routers[0].applied_version for left in controller.yards] == [1]


@pytest.mark.parametrize("router", [{"connected": False}, {"error": "it does not fit into memory"}])
def test_deploying_does_not_wait_for_a_router_that_cannot_follow(
    run: Run, controller: Any, router: dict[str, Any]
) -> None:
    controller.statuses = [DeploymentStatus(state=DeploymentStatus.READY, serving_version=1)]
    controller.yards = [controller.make_yard(applied_version=5, **router)]
    assert "the routers" not in run("deploy", "resnet").stderr


def test_a_router_that_is_late_is_no_failure_of_the_deployment(
    run: Run, controller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_ROUTED_S", 0.2)
    controller.statuses = [DeploymentStatus(state=DeploymentStatus.READY, serving_version=1)]
    controller.yards = [controller.make_yard(applied_version=5)]
    assert run("deploy", "resnet").exit_code == 0


def test_deploying_ends_with_the_reason_where_it_cannot_be(
    run: Run, controller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_SETTLE_S", 0.3)  # long enough to be looked at twice
    degraded = DeploymentStatus(state=DeploymentStatus.DEGRADED, message="no node has 64 free cores")
    controller.statuses = [degraded]
    result = run("deploy", "resnet", "--threads", "64")
    assert result.exit_code == 1 and result.stdout == ""
    assert result.stderr.count("no node has 64 free cores") == 1


def test_deploying_does_not_wait_for_ever(run: Run, controller: Any) -> None:
    controller.statuses = [DeploymentStatus(state=DeploymentStatus.PENDING)]
    result = run("deploy", "resnet", "--timeout", "0")
    assert result.exit_code == 4 and "still under way" in result.stderr


def test_undeploying_waits_until_the_replicas_are_gone(run: Run, controller: Any) -> None:
    controller.replicas = [[Replica(replica_id="a"), Replica(replica_id="b")], [Replica(replica_id="b")], []]
    result = run("undeploy", "resnet", "--alias", "staging")
    assert result.exit_code == 0 and result.stdout == "resnet@staging is no longer served\n"
    assert "2 still to stop" in result.stderr


def test_the_status_of_the_yard_is_json_and_tables(run: Run) -> None:
    status = json.loads(run("status", "--json").stdout)
    assert status["route_table_version"] == 7 and status["nodes"][0]["connected"] is True
    text = run("status").stdout
    assert "127.0.0.1:8001" in text and "local" in text and "\x1b" not in text


@pytest.mark.parametrize("command", ["models", "versions resnet", "replicas", "replicas resnet", "nodes", "status"])
def test_json_is_all_that_is_printed(run: Run, command: str) -> None:
    result = run(*command.split(), "--json")
    assert result.exit_code == 0
    json.loads(result.stdout)


def test_the_commit_is_that_of_the_repository_around(
    run: Run, controller: Any, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    monkeypatch.chdir(repository)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    nowhere = run("register", "resnet", str(model_file), "--git-commit", "auto")
    assert nowhere.exit_code == 2 and "give the commit itself" in nowhere.stderr and not controller.versions

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=ann", "-c", "user.email=ann@example.com"]
        done = subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "--quiet")
    (repository / "train.py").write_text("train()")
    git("add", ".")
    git("commit", "--quiet", "--message", "train")
    clean = run("register", "resnet", str(model_file), "--git-commit", "auto")
    assert clean.exit_code == 0 and controller.headers[-1].source.git_commit == git("rev-parse", "HEAD")
    assert "has changes" not in clean.stderr
    (repository / "train.py").write_text("train(harder=True)")
    assert "has changes" in run("register", "other", str(model_file), "--git-commit", "auto").stderr
