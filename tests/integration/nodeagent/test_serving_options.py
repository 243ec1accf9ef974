"""What a deployment says of serving, and a version's sample, reach the model server; its metrics are told of."""

import hashlib
import io
import urllib.request
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from modelyard.v1 import agent_pb2, resources_pb2
from tests.harness.models import write_scale_model
from tests.integration.nodeagent.conftest import StartAgent
from tests.integration.nodeagent.stand_in import READY, StandInController


def wanted(version: resources_pb2.Version, serving: resources_pb2.Serving) -> agent_pb2.DesiredReplica:
    allocation = resources_pb2.Allocation(cores=[0], threads=1)
    return agent_pb2.DesiredReplica(replica_id="r1", version=version, allocation=allocation, serving=serving)


def flags_of(pid: int) -> dict[str, str]:
    """Of a model server's process; a spare is told its own later."""
    words = psutil.Process(pid).cmdline()[4:]
    return dict(zip(words[::2], words[1::2], strict=True))


@pytest.fixture
def version(controller: StandInController, tmp_path: Path) -> resources_pb2.Version:
    return controller.add_file(write_scale_model(tmp_path / "model.onnx", 3.0))


def add_sample(version: resources_pb2.Version) -> bytes:
    data = io.BytesIO()
    np.savez(data, x=np.ones((1, 4), np.float32))
    sample = data.getvalue()
    version.sample.sha256, version.sample.size_bytes = hashlib.sha256(sample).hexdigest(), len(sample)
    return sample


def test_batching_is_as_the_deployment_says(
    controller: StandInController, start_agent: StartAgent, version: resources_pb2.Version
) -> None:
    start_agent()
    controller.want_all(wanted(version, resources_pb2.Serving(max_batch_rows=6, max_batch_wait_us=250)))
    replica = controller.wait_seen("r1", READY)
    with grpc.insecure_channel(f"127.0.0.1:{replica.port}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        batching = stub.ModelConfig(pb.ModelConfigRequest(name="scale"), timeout=30).config.dynamic_batching
    assert (list(batching.preferred_batch_size), batching.max_queue_delay_microseconds) == ([6], 250)


def test_metrics_are_where_the_agent_says_also_after_it_was_killed(
    controller: StandInController, start_agent: StartAgent, version: resources_pb2.Version
) -> None:
    agent = start_agent()
    controller.want_all(wanted(version, resources_pb2.Serving()))
    before = controller.wait_seen("r1", READY)
    agent.kill()
    start_agent()
    told = controller.hellos[-1].observed.replicas[0]
    assert told.metrics_port == before.metrics_port > 0
    with urllib.request.urlopen(f"http://127.0.0.1:{told.metrics_port}/metrics", timeout=30) as answer:
        assert b'nv_inference_request_success{model="scale",version="1"}' in answer.read()


def test_a_replica_warms_up_with_its_versions_sample(
    controller: StandInController, start_agent: StartAgent, version: resources_pb2.Version, tmp_path: Path
) -> None:
    sample = add_sample(version)
    controller.files[version.sample.sha256] = sample
    start_agent("--spare-servers", "0")
    controller.want_all(wanted(version, resources_pb2.Serving()))
    replica = controller.wait_seen("r1", READY)
    cached = tmp_path / "data" / "cache" / version.sample.sha256
    assert flags_of(replica.pid)["--sample"] == str(cached) and cached.read_bytes() == sample


def test_a_sample_that_cannot_be_had_keeps_nobody_from_serving(
    controller: StandInController, start_agent: StartAgent, version: resources_pb2.Version
) -> None:
    add_sample(version)
    agent = start_agent("--spare-servers", "0")
    controller.want_all(wanted(version, resources_pb2.Serving()))
    assert "--sample" not in flags_of(controller.wait_seen("r1", READY).pid)
    assert "warming up without its sample: no such file" in agent.log_tail()


def test_a_sample_in_use_stays_in_a_cache_that_is_full(
    controller: StandInController, start_agent: StartAgent, version: resources_pb2.Version, tmp_path: Path
) -> None:
    sample = add_sample(version)
    controller.files[version.sample.sha256] = sample
    start_agent("--cache-limit-bytes", "1", "--spare-servers", "0")
    controller.want_all(wanted(version, resources_pb2.Serving()))
    controller.wait_seen("r1", READY)
    assert {path.name for path in (tmp_path / "data" / "cache").iterdir()} == {version.sha256, version.sample.sha256}
