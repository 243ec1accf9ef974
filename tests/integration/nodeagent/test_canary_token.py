"""Only a server's own agent can probe it: what others send is counted, whatever id it has."""

from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tritonclient.grpc

from tests.harness.models import write_scale_model
from tests.integration.nodeagent.conftest import LONG_PROBES, StartAgent
from tests.integration.nodeagent.stand_in import READY, StandInController


def answers(client: Any) -> int:
    [stats] = client.get_inference_statistics("scale").model_stats
    return int(stats.inference_stats.success.count)


def test_probes_are_not_counted_before_and_after_an_adoption_and_the_rest_is(
    controller: StandInController, start_agent: StartAgent, tmp_path: Path
) -> None:
    agent = start_agent()
    controller.want(r1=controller.add_file(write_scale_model(tmp_path / "model.onnx", 3.0)))
    replica = controller.wait_seen("r1", READY)  # so a probe was answered
    agent.kill()
    start_agent(*LONG_PROBES)
    assert controller.hellos[-1].observed.replicas[0].state == READY  # and another, by the next agent
    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{replica.port}") as client:
        assert answers(client) == 0
        x = tritonclient.grpc.InferInput("x", [1, 4], "FP32")
        x.set_data_from_numpy(np.ones((1, 4), np.float32))
        for request_id in ("", "modelyard-canary", "canary"):
            client.infer("scale", [x], request_id=request_id)
        assert answers(client) == 3


def test_each_server_has_a_token_of_its_own_that_is_not_among_its_arguments(
    controller: StandInController, start_agent: StartAgent, tmp_path: Path
) -> None:
    start_agent("--spare-servers", "0")  # a spare's environment, as the kernel shows it, is that of its start
    version = controller.add_file(write_scale_model(tmp_path / "model.onnx", 3.0))
    controller.want(r1=version, r2=version)
    servers = [psutil.Process(controller.wait_seen(name, READY).pid) for name in ("r1", "r2")]
    tokens = [server.environ()["MODELYARD_CANARY_TOKEN"] for server in servers]
    assert len(set(tokens)) == 2 and min(map(len, tokens)) >= 32
    assert not any(token in " ".join(server.cmdline()) for token in tokens for server in servers)
