"""One inference may take long: nothing between the client and the model may take that for a failure."""

import time
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from modelyard.v1 import resources_pb2
from tests.harness.onnx_models import write_counting_model
from tests.harness.yard import Yard

# Envoy asks each replica every second whether it is there; gRPC loses patience with the fourth question or so. The
# agent kills what fails six probes in a row, here after 7.2 s: one second each and the pauses.
LONG_S = 9.0


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """Its agent probes often, and gives up on a replica that does not answer for some seconds."""
    folder = tmp_path_factory.mktemp("yard")
    running = Yard(folder, agent_options=("--probe-interval-s", "0.2", "--probe-timeout-s", "1"))
    running.register("count", write_counting_model(folder / "count.onnx"))
    running.set_alias("count", "production", 1)
    running.deploy("count", no_retries=True)
    running.wait_serving("count", version=1, replicas=1)
    yield running
    running.close()


def count(yard: Yard, steps: int) -> float:
    """Seconds it took."""
    tensor = triton.InferInput("n", [1], "INT64")
    tensor.set_data_from_numpy(np.array([steps], np.int64))
    with triton.InferenceServerClient(yard.address) as client:
        start = time.monotonic()
        answer = client.infer("count", [tensor], client_timeout=90).as_numpy("count")
    assert answer == pytest.approx(steps)
    return time.monotonic() - start


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_long_inference_is_answered_and_its_replica_left_alone(yard: Yard) -> None:
    steps = 200_000
    while (took_s := count(yard, steps)) < LONG_S:
        steps = int(steps * min(4.0, 1.3 * LONG_S / took_s)) + 1
    (replica,) = yard.replicas("count")
    assert replica.restarts == 0
    assert replica.state == resources_pb2.REPLICA_STATE_READY


def test_an_inference_that_nobody_waits_for_is_ended(yard: Yard) -> None:
    tensor = triton.InferInput("n", [1], "INT64")
    tensor.set_data_from_numpy(np.array([10**12], np.int64))  # for days
    late = pytest.raises(InferenceServerException, match=r"(?i)deadline")
    with triton.InferenceServerClient(yard.address) as client, late:
        client.infer("count", [tensor], client_timeout=1)
    count(yard, 1)
    assert yard.replicas("count")[0].restarts == 0
