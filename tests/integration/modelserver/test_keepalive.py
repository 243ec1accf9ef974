"""A proxy asks every second whether a replica is still there: that may not cost what runs on the connection."""

import time
from pathlib import Path

import numpy as np
from tritonclient.grpc import service_pb2 as pb

from tests.harness.models import write_scale_model
from tests.harness.onnx_models import write_counting_model
from tests.integration.modelserver.conftest import StartServer
from tests.integration.modelserver.http2 import PingingConnection

SERVICE = "/inference.GRPCInferenceService"
# gRPC's servers end a connection at the third ping, without data in between, that comes too soon after another.
PINGS = 6
PAUSE_S = 0.5


def test_pings_do_not_end_an_inference_of_seconds(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(write_counting_model(tmp_path / "m.onnx"))
    request = pb.ModelInferRequest(model_name="m", raw_input_contents=[np.array([5_000_000]).tobytes()])
    request.inputs.add(name="n", datatype="INT64", shape=[1])
    for _ in range(5):
        pings_before_answer = 0
        with PingingConnection(server.facts["port"], f"{SERVICE}/ModelInfer") as connection:
            connection.send(request.SerializeToString(), last=True)
            while not connection.has_answer():
                connection.ping()
                pings_before_answer += 1
                time.sleep(PAUSE_S)
            answer = pb.ModelInferResponse.FromString(connection.receive())
        assert np.frombuffer(answer.raw_output_contents[0], np.float32) == [5_000_000]
        # Fewer where this process was held up until the inference was over: then another one.
        if pings_before_answer >= PINGS:
            break
    assert pings_before_answer >= PINGS


def test_pings_do_not_end_a_stream_that_stands_idle(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(write_scale_model(tmp_path / "m.onnx", 2.0))
    request = pb.ModelInferRequest(model_name="m", raw_input_contents=[np.ones(4, np.float32).tobytes()])
    request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    with PingingConnection(server.facts["port"], f"{SERVICE}/ModelStreamInfer") as connection:
        for _ in range(2):
            connection.send(request.SerializeToString(), last=False)
            answer = pb.ModelStreamInferResponse.FromString(connection.receive()).infer_response
            assert np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [2.0] * 4
            for _ in range(PINGS):
                connection.ping()
                time.sleep(PAUSE_S)
