"""The agent does what its controller wants, and goes on doing it when something dies."""

import os
import shutil
import signal
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
import tritonclient.grpc

from modelyard.processes import ProcessIdentity
from nodeagent.devices.cpu_offer import compute_offer, read_host
from nodeagent.server_process import find_marked
from tests.harness.models import write_scale_model
from tests.harness.programs import wait_for
from tests.integration.nodeagent.conftest import LONG_PROBES, StartAgent
from tests.integration.nodeagent.stand_in import BACKOFF, READY, StandInController


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_scale_model(tmp_path / "model.onnx", 3.0)


def infer(port: int) -> list[float]:
    client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}")
    x = tritonclient.grpc.InferInput("x", [1, 4], "FP32")
    x.set_data_from_numpy(np.ones((1, 4), np.float32))
    answer: list[float] = client.infer("scale", [x], client_timeout=30).as_numpy("y")[0].tolist()
    client.close()
    return answer


def test_a_wanted_replica_is_fetched_started_pinned_and_answers(
    controller: StandInController, start_agent: StartAgent, model: Path
) -> None:
    agent = start_agent()
    assert agent.facts == {"program": "agent", "node": "n1", "address": "127.0.0.1"}
    resources = controller.hellos[0].resources
    offer = compute_offer(read_host(), None, None)
    assert (tuple(resources.cores), resources.memory_bytes) == (offer.cores, offer.memory_bytes)
    assert [core.number for core in resources.topology] == list(resources.cores)
    assert agent.log_tail().count("offering cores") == 1
    controller.want(r1=controller.add_file(model))
    replica = controller.wait_seen("r1", READY)
    assert infer(replica.port) == [3.0] * 4
    assert (replica.restarts, replica.model, replica.version) == (0, "scale", 1)
    server = psutil.Process(replica.pid)
    assert server.cpu_affinity() == [0]
    assert server.environ()["OMP_NUM_THREADS"] == server.environ()["OPENBLAS_NUM_THREADS"] == "1"
    assert "glibc.malloc.hugetlb=1" in server.environ()["GLIBC_TUNABLES"]


def test_an_unwanted_replica_is_drained_and_leaves_nothing(
    controller: StandInController, start_agent: StartAgent, model: Path, tmp_path: Path
) -> None:
    start_agent()
    controller.want(r1=controller.add_file(model))
    server = ProcessIdentity.of(controller.wait_seen("r1", READY).pid)
    controller.want()
    wait_for(lambda: controller.seen("r1") is None, "the replica's end")
    assert not server.is_alive()
    assert not list((tmp_path / "data" / "replicas").iterdir())


def test_a_killed_server_comes_back(
    controller: StandInController, start_agent: StartAgent, model: Path, tmp_path: Path
) -> None:
    start_agent()
    controller.want(r1=controller.add_file(model))
    os.kill(controller.wait_seen("r1", READY).pid, signal.SIGKILL)
    replica = controller.wait_seen("r1", READY, restarts=1)
    assert replica.restarts == 1
    assert infer(replica.port) == [3.0] * 4
    assert any("SIGKILL" in seen.message for report in controller.reports for seen in report.replicas)
    assert len(controller.reads) == 1  # the file was still in the cache


def test_a_killed_agent_leaves_the_replica_serving_and_the_next_one_adopts_it(
    controller: StandInController, start_agent: StartAgent, model: Path
) -> None:
    agent = start_agent()
    controller.want(r1=controller.add_file(model))
    before = controller.wait_seen("r1", READY)
    agent.kill()
    assert infer(before.port) == [3.0] * 4
    start_agent(*LONG_PROBES)
    told = controller.hellos[-1].observed.replicas[0]
    assert (told.pid, told.port, told.state, told.restarts) == (before.pid, before.port, READY, 0)
    assert controller.hellos[0].instance_id == controller.hellos[-1].instance_id
    server = ProcessIdentity.of(before.pid)
    controller.want()
    wait_for(lambda: controller.seen("r1") is None, "the adopted replica's end")
    assert not server.is_alive()


def test_an_adopted_replica_that_dies_is_restarted(
    controller: StandInController, start_agent: StartAgent, model: Path
) -> None:
    agent = start_agent("--on-stop", "keep")
    controller.want(r1=controller.add_file(model))
    before = controller.wait_seen("r1", READY)
    first_ready = len(controller.reports)
    assert agent.stop() == 0
    assert infer(before.port) == [3.0] * 4
    # Nor was the controller told otherwise at the end: it would have taken the replica off the routes.
    told = [[(seen.state, seen.port) for seen in report.replicas] for report in controller.reports[first_ready:]]
    assert all(report == [(READY, before.port)] for report in told), told
    start_agent()
    os.kill(controller.wait_seen("r1", READY).pid, signal.SIGKILL)
    assert infer(controller.wait_seen("r1", READY, restarts=1).port) == [3.0] * 4


def test_a_broken_model_backs_off_with_the_reason(
    controller: StandInController, start_agent: StartAgent, tmp_path: Path
) -> None:
    start_agent()
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"this is no model")
    controller.want(r1=controller.add_file(broken))
    replica = controller.wait_seen("r1", BACKOFF, restarts=1)
    assert "its process ended with code" in replica.message
    assert "ONNX" in replica.message or "onnx" in replica.message
    controller.want()
    wait_for(lambda: controller.seen("r1") is None, "the replica's end")


def test_sigterm_stops_all_replicas(
    controller: StandInController, start_agent: StartAgent, model: Path, tmp_path: Path
) -> None:
    agent = start_agent()
    version = controller.add_file(model)
    controller.want(r1=version, r2=version)
    controller.wait_seen("r1", READY)
    controller.wait_seen("r2", READY)
    assert agent.stop() == 0
    # The agent does not wait for ever for a spare that it has killed, and that gets no core to end on.
    wait_for(lambda: not find_marked(str(tmp_path / "data" / "replicas")), "the end of all")
    assert not list((tmp_path / "data" / "replicas").iterdir())


def test_a_second_agent_on_the_folder_is_refused_by_name(
    controller: StandInController, start_agent: StartAgent
) -> None:
    first = start_agent()
    with pytest.raises(RuntimeError, match=f"in use by another agent, process {first.pid} "):
        start_agent()


def test_a_refused_agent_keeps_its_replicas_and_says_why(
    controller: StandInController, start_agent: StartAgent, model: Path, tmp_path: Path
) -> None:
    agent = start_agent()
    controller.want(r1=controller.add_file(model))
    replica = controller.wait_seen("r1", READY)
    controller.refusal = (grpc.StatusCode.ALREADY_EXISTS, "another node is called n1")
    controller.stop()
    controller.start()
    wait_for(lambda: "another node is called n1" in agent.log_tail(), "the refusal in the log")
    assert infer(replica.port) == [3.0] * 4


def test_a_controller_that_went_away_finds_everything_as_it_was(
    controller: StandInController, start_agent: StartAgent, model: Path
) -> None:
    start_agent()
    controller.want(r1=controller.add_file(model))
    before = controller.wait_seen("r1", READY)
    controller.stop()
    hellos = len(controller.hellos)  # two, where the agent came again before all was stopped
    os.kill(before.pid, signal.SIGKILL)  # supervised all the same
    controller.start()
    wait_for(lambda: len(controller.hellos) > hellos, "another hello")
    after = controller.wait_seen("r1", READY, restarts=1)
    assert infer(after.port) == [3.0] * 4


def test_a_replica_that_is_wanted_otherwise_is_replaced(
    controller: StandInController, start_agent: StartAgent, model: Path, tmp_path: Path
) -> None:
    start_agent()
    controller.want(r1=controller.add_file(model))
    before = controller.wait_seen("r1", READY)
    controller.want(r1=controller.add_file(write_scale_model(tmp_path / "other.onnx", 5.0)))
    after = wait_for(
        lambda: (seen := controller.seen("r1")) and seen.version == 2 and seen.state == READY and seen,
        "the other version",
    )
    assert after.pid != before.pid
    assert infer(after.port) == [5.0] * 4


def test_a_file_damaged_in_the_cache_is_fetched_again(
    controller: StandInController, start_agent: StartAgent, model: Path, tmp_path: Path
) -> None:
    start_agent().stop()
    version = controller.add_file(model)
    data = controller.files[version.sha256]
    (tmp_path / "data" / "cache" / version.sha256).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    start_agent()
    controller.want(r1=version)
    assert infer(controller.wait_seen("r1", READY).port) == [3.0] * 4
    assert len(controller.reads) == 1


def test_a_process_without_a_readable_record_is_ended(
    controller: StandInController, start_agent: StartAgent, model: Path, tmp_path: Path
) -> None:
    agent = start_agent()
    controller.want(r1=controller.add_file(model))
    stray = ProcessIdentity.of(controller.wait_seen("r1", READY).pid)
    agent.kill()
    (tmp_path / "data" / "replicas" / "r1" / "state.json").write_text("{")
    start_agent()
    assert not stray.is_alive()
    assert controller.wait_seen("r1", READY).pid != stray.pid


def test_a_file_that_the_controller_lacks_is_reported(
    controller: StandInController, start_agent: StartAgent, model: Path
) -> None:
    start_agent()
    version = controller.add_file(model)
    data = controller.files.pop(version.sha256)
    controller.want(r1=version)
    assert "no such file" in controller.wait_seen("r1", BACKOFF).message
    controller.files[version.sha256] = data
    controller.wait_seen("r1", READY)


def test_a_core_that_is_not_there_is_reported(
    controller: StandInController, start_agent: StartAgent, model: Path
) -> None:
    start_agent()
    controller.want_on_core(9999, r1=controller.add_file(model))
    assert "9999" in controller.wait_seen("r1", BACKOFF).message


def test_a_download_that_is_cut_goes_on_where_it_was(
    controller: StandInController, start_agent: StartAgent, model: Path
) -> None:
    controller.cuts = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN]
    start_agent()
    controller.want(r1=controller.add_file(model))
    assert infer(controller.wait_seen("r1", READY).port) == [3.0] * 4
    assert [read.offset_bytes for read in controller.reads] == [0, 32, 64]


def test_an_agent_killed_while_a_server_starts_leaves_it_to_the_next(
    controller: StandInController, start_agent: StartAgent, model: Path
) -> None:
    agent = start_agent()
    controller.want(r1=controller.add_file(model))
    started = wait_for(lambda: (seen := controller.seen("r1")) and seen.pid and seen, "a process")
    agent.kill()
    start_agent()
    ready = controller.wait_seen("r1", READY)
    assert (ready.pid, ready.restarts) == (started.pid, 0)
    assert infer(ready.port) == [3.0] * 4


def test_a_cache_that_was_removed_is_filled_again(
    controller: StandInController, start_agent: StartAgent, model: Path, tmp_path: Path
) -> None:
    start_agent()
    controller.want(r1=controller.add_file(model))
    first = controller.wait_seen("r1", READY)
    shutil.rmtree(tmp_path / "data" / "cache")
    os.kill(first.pid, signal.SIGKILL)
    assert infer(controller.wait_seen("r1", READY, restarts=1).port) == [3.0] * 4


def test_a_replica_that_leaves_while_the_cache_is_away_can_be_wanted_again(
    controller: StandInController, start_agent: StartAgent, model: Path, tmp_path: Path
) -> None:
    start_agent()
    version = controller.add_file(model)
    controller.want(r1=version)
    controller.wait_seen("r1", READY)
    shutil.rmtree(tmp_path / "data" / "cache")
    # The same replica otherwise: it is started anew after the one that runs has gone.
    controller.want(r1=controller.add_file(write_scale_model(tmp_path / "other.onnx", 5.0)))
    replica = wait_for(
        lambda: (seen := controller.seen("r1")) and seen.version == 2 and seen.state == READY and seen, "version 2"
    )
    assert infer(replica.port) == [5.0] * 4


def test_the_longest_names_there_can_be(controller: StandInController, start_agent: StartAgent, model: Path) -> None:
    start_agent()
    version = controller.add_file(model)
    version.model, version.number = "m" * 100, 2**63 - 1
    replica_id = f"{version.model}-{'a' * 100}-v{version.number}-{'9' * 19}"
    controller.want(**{replica_id: version})
    os.kill(controller.wait_seen(replica_id, READY).pid, signal.SIGKILL)
    controller.wait_seen(replica_id, READY, restarts=1)
    controller.want()
    wait_for(lambda: controller.seen(replica_id) is None, "the replica's end")


def test_a_disk_that_was_full_for_a_while_costs_no_adoption(
    controller: StandInController, start_agent: StartAgent, model: Path, tmp_path: Path
) -> None:
    agent = start_agent()
    version = controller.add_file(model)
    folder = tmp_path / "data" / "replicas" / "r1"
    # A folder in the way of the file that a record is written to first, as no room would be.
    (folder / "state.json.new").mkdir(parents=True)
    controller.want(r1=version)
    before = controller.wait_seen("r1", READY)
    assert "the next agent could not adopt it" in agent.log_tail()
    (folder / "state.json.new").rmdir()
    wait_for((folder / "state.json").exists, "the record")
    agent.kill()
    start_agent()
    assert controller.wait_seen("r1", READY).pid == before.pid
