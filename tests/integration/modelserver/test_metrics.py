"""A server's metrics over HTTP: for whoever scrapes as Prometheus does, and whatever others send to that port."""

import http.client
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from tests.harness.models import write_scale_model
from tests.harness.onnx_models import write_counting_model
from tests.harness.programs import Program, wait_for
from tests.integration.modelserver.conftest import StartServer


@pytest.fixture
def server(start_server: StartServer, tmp_path: Path) -> Program:
    return start_server(write_scale_model(tmp_path / "m.onnx", 2.0), "--metrics-port", "0")


@contextmanager
def connection(server: Program) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.facts["metrics_port"]), timeout=30) as opened:
        yield opened


def scrape(server: Program) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.facts['metrics_port']}/metrics", timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return str(answer.read().decode())


def infer(server: Program, count: int) -> None:
    request = pb.ModelInferRequest(model_name="m", raw_input_contents=[np.ones(4, np.float32).tobytes()])
    request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    with grpc.insecure_channel(server.facts["address"]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for _ in range(count):
            stub.ModelInfer(request, timeout=30)


def status_of(server: Program, method: str, path: str) -> tuple[int, Any]:
    client = http.client.HTTPConnection("127.0.0.1", server.facts["metrics_port"], timeout=30)
    try:
        client.request(method, path)
        answer = client.getresponse()
        answer.read()
        return answer.status, answer.headers
    finally:
        client.close()


def test_requests_are_counted_in_what_is_scraped(server: Program) -> None:
    assert 'nv_inference_request_success{model="m",version="3"} 0.0' in scrape(server)
    infer(server, 3)
    text = scrape(server)
    assert 'nv_inference_request_success{model="m",version="3"} 3.0' in text
    assert 'nv_inference_exec_count{model="m",version="3"} 3.0' in text
    assert "process_resident_memory_bytes" in text


def test_only_get_metrics_is_there(server: Program) -> None:
    assert status_of(server, "GET", "/")[0] == status_of(server, "GET", "/metrics/x")[0] == 404
    status, headers = status_of(server, "POST", "/metrics")
    assert (status, headers["Allow"]) == (405, "GET")
    assert status_of(server, "GET", "/metrics?x=1")[0] == 200


def test_no_metrics_are_offered_unless_asked_for(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(write_scale_model(tmp_path / "m.onnx", 2.0))
    assert "metrics_port" not in server.facts
    listening = [c for c in psutil.Process(server.pid).net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert [c.laddr.port for c in listening] == [server.facts["port"]]


def test_slow_scrapers_hold_up_nobody(server: Program) -> None:
    """Some send half a request, some read nothing of what they asked for."""
    infer(server, 20)
    scrape(server)  # by now it has the threads that it needs
    before = psutil.Process(server.pid).num_threads()
    opened = [socket.create_connection(("127.0.0.1", server.facts["metrics_port"])) for _ in range(12)]
    try:
        for index, one in enumerate(opened):
            one.sendall(b"GET /met" if index % 2 else b"GET /metrics HTTP/1.1\r\n\r\n")
        infer(server, 20)
        assert 'nv_inference_request_success{model="m",version="3"} 40.0' in scrape(server)
        # gRPC starts some of its own where the host is busy; for each kind of scraper they would be six.
        assert psutil.Process(server.pid).num_threads() <= before + 4
    finally:
        for one in opened:
            one.close()


def test_no_more_than_some_connections_are_kept(server: Program) -> None:
    opened = [socket.create_connection(("127.0.0.1", server.facts["metrics_port"])) for _ in range(40)]
    try:
        for one in opened:
            one.settimeout(30)
        closed = [one for one in opened[16:] if one.recv(1) == b""]
        assert len(closed) == 24
        infer(server, 1)
    finally:
        for one in opened:
            one.close()
    wait_for(lambda: "nv_inference_count" in scrape_or_nothing(server), "a scrape once they have gone")


def scrape_or_nothing(server: Program) -> str:
    try:
        return scrape(server)
    except (OSError, http.client.HTTPException):
        return ""


@pytest.mark.parametrize("garbage", [b"\0" * 100_000, b"GET /metrics\r\n\r\n", b"\r\n\r\n", b"GET " + b"/" * 20_000])
def test_garbage_is_answered_or_cut_off(garbage: bytes, server: Program) -> None:
    with connection(server) as opened:
        try:
            opened.sendall(garbage)
            opened.shutdown(socket.SHUT_WR)
            while opened.recv(65536):
                pass
        except OSError:
            pass  # cut off
    assert "nv_inference_count" in scrape(server)


def test_metrics_are_there_until_the_drain_is_over_and_do_not_hold_it_up(
    start_server: StartServer, tmp_path: Path
) -> None:
    flags = ("--metrics-port", "0", "--drain-timeout-s", "1000")
    server = start_server(write_counting_model(tmp_path / "m.onnx"), *flags)
    request = pb.ModelInferRequest(model_name="m", raw_input_contents=[np.array([2**40]).tobytes()])
    request.inputs.add(name="n", datatype="INT64", shape=[1])
    # The first asks for nothing.
    with connection(server), grpc.insecure_channel(server.facts["address"]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        endless = stub.ModelInfer.future(request)  # so that the drain lasts until this process has looked
        wait_for(lambda: 'modelyard_requests_in_flight{model="m",version="3"} 1.0' in scrape(server), "the endless run")
        psutil.Process(server.pid).terminate()
        wait_for(lambda: not stub.ServerReady(pb.ServerReadyRequest(), timeout=30).ready, "the drain")
        assert 'modelyard_requests_in_flight{model="m",version="3"} 1.0' in scrape(server)
        endless.cancel()
        assert server.stop() == 0


def test_a_metrics_port_that_is_taken_ends_it_with_a_sentence(tmp_path: Path) -> None:
    file = write_scale_model(tmp_path / "m.onnx", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = ["--model", "m", "--version", "3", "--file", str(file), "--metrics-port", str(port)]
        with pytest.raises(RuntimeError, match=f"cannot listen on 127.0.0.1:{port}"):
            Program("nodeagent.modelserver", arguments, tmp_path / "log").start()
