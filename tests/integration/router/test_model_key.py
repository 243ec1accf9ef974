"""The Lua that finds the model's key, in a real Envoy, against protobuf's own parser."""

import http.client
import http.server
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from modelyard.varint import encode_varint
from router.envoy.binary import find_envoy
from router.xds.model_key import MODEL_KEY_LUA
from tests.harness.held_port import hold_port

_EXTENSIONS = "type.googleapis.com/envoy.extensions.filters"
# The key of a body, and the body that goes on; None where it was refused.
Send = Callable[[bytes], tuple[str, bytes] | None]
Scan = Callable[[bytes], str | None]


class _Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in one piece: a second would wait for the first to be acknowledged

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _make_config(port: int, echo_port: int) -> dict[str, Any]:
    """An Envoy that says in a header of its answer which key it has found; the answer is what it hands on."""
    lua = {"@type": f"{_EXTENSIONS}.http.lua.v3.Lua", "default_source_code": {"inline_string": MODEL_KEY_LUA}}
    router = {"@type": f"{_EXTENSIONS}.http.router.v3.Router"}
    route = {
        "match": {"prefix": "/"},
        "route": {"cluster": "echo", "timeout": "0s"},
        "response_headers_to_add": [{"header": {"key": "x-key", "value": "%REQ(x-model)%"}}],
    }
    manager = {
        "@type": f"{_EXTENSIONS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "test",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "lua", "typed_config": lua}, {"name": "router", "typed_config": router}],
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "per_connection_buffer_limit_bytes": 80 << 20,
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": echo_port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    echo = {"name": "echo", "load_assignment": {"cluster_name": "echo", "endpoints": endpoints}}
    return {"static_resources": {"listeners": [listener], "clusters": [echo]}}


@pytest.fixture(scope="module")
def echo_port() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def send(tmp_path_factory: pytest.TempPathFactory, echo_port: int) -> Iterator[Send]:
    held = hold_port()
    port = held.getsockname()[1]
    config: Path = tmp_path_factory.mktemp("envoy") / "config.json"
    config.write_text(json.dumps(_make_config(port, echo_port)))
    command = [str(find_envoy(None)), "-c", str(config), "--disable-hot-restart", "--concurrency", "1"]
    envoy = subprocess.Popen([*command, "--log-level", "error"])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(body: bytes) -> tuple[str, bytes] | None:
        connection.request("POST", "/", body)
        answer = connection.getresponse()
        handed_on = answer.read()
        return (answer.headers.get("x-key", ""), handed_on) if answer.status == 200 else None

    _wait_open(port, envoy)
    yield ask
    connection.close()
    envoy.terminate()
    envoy.wait()
    held.close()


@pytest.fixture(scope="module")
def scan(send: Send) -> Scan:
    """The key of an HTTP body, as Envoy found it; None where Envoy refused it."""
    return lambda body: (answer := send(body)) and answer[0]


def _wait_open(port: int, envoy: subprocess.Popen[bytes]) -> None:
    while envoy.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise AssertionError("Envoy ended")


def _frame(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


def _escape(text: str) -> str:
    return quote(text.encode()[:1024], safe="@._-").replace("~", "%7E")


def _expect(message: bytes) -> str | None:
    try:
        request = service_pb2.ModelInferRequest.FromString(message)
    except DecodeError:
        return None
    key = f"{request.model_name}@{request.model_version}" if request.model_version else request.model_name
    return _escape(key) if len(key) <= 1024 else None


def _text_field(number: int, content: bytes) -> bytes:
    return encode_varint(number << 3 | 2) + encode_varint(len(content)) + content


_LENGTHS = st.one_of(st.integers(0, 300), st.sampled_from([127, 128, 255, 256, 257, 16_383, 16_384, 70_000]))
_KNOWN_NAMES = st.text(st.characters(codec="utf-8"), max_size=60)
_UNKNOWN_NUMBERS = st.integers(20, 2**29 - 1).filter(lambda number: not 19_000 <= number < 20_000)
_FIELDS = st.one_of(
    st.builds(lambda n, text: _text_field(n, text.encode()), st.sampled_from([1, 2]), _KNOWN_NAMES),
    st.builds(lambda n, size: _text_field(n, b"\x0a" * size), st.one_of(st.just(7), _UNKNOWN_NUMBERS), _LENGTHS),
    st.builds(
        lambda n, value: encode_varint(n << 3) + encode_varint(value), _UNKNOWN_NUMBERS, st.integers(0, 2**64 - 1)
    ),
    st.builds(lambda n, value: encode_varint(n << 3 | 1) + value, _UNKNOWN_NUMBERS, st.binary(min_size=8, max_size=8)),
    st.builds(lambda n, value: encode_varint(n << 3 | 5) + value, _UNKNOWN_NUMBERS, st.binary(min_size=4, max_size=4)),
    # A group, with what looks like a name in it.
    st.builds(
        lambda n, text: encode_varint(n << 3 | 3) + _text_field(1, text) + encode_varint(n << 3 | 4),
        _UNKNOWN_NUMBERS,
        st.binary(max_size=20),
    ),
)
_MESSAGES = st.lists(_FIELDS, max_size=8).map(b"".join)
_shared_envoy = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_shared_envoy
@given(message=_MESSAGES)
def test_it_finds_what_protobuf_finds(scan: Scan, message: bytes) -> None:
    assert scan(_frame(message)) == _expect(message)


@_shared_envoy
@given(message=_MESSAGES.filter(bool), data=st.data())
def test_a_message_that_is_cut_off_is_refused_or_read_as_protobuf_reads_it(
    scan: Scan, message: bytes, data: st.DataObject
) -> None:
    cut = message[: data.draw(st.integers(0, len(message) - 1))]
    expected = _expect(cut)
    if expected is not None or not _cuts_a_character(cut):
        assert scan(_frame(cut)) == expected


def _cuts_a_character(message: bytes) -> bool:
    """Only the replica checks that names are UTF-8."""
    try:
        service_pb2.ModelInferRequest.FromString(message)
    except DecodeError as error:
        return "UTF-8" in str(error)
    return False


@_shared_envoy
@given(body=st.binary(max_size=400))
def test_bytes_of_any_kind_are_answered(scan: Scan, body: bytes) -> None:
    scan(body)
    scan(_frame(body))
    assert scan(_frame(_text_field(1, b"resnet"))) == "resnet"


def test_large_tensors_before_and_after_the_name(scan: Scan) -> None:
    tensor = _text_field(7, bytes(5 << 20))
    name, version = _text_field(1, b"resnet"), _text_field(2, b"3")
    for message in (name + version + tensor, tensor + version + name, version + tensor + tensor + name):
        assert scan(_frame(message)) == "resnet@3"


def test_the_frame_must_fit_the_body(scan: Scan) -> None:
    frame = _frame(_text_field(1, b"resnet"))
    assert scan(frame) == "resnet"
    for body in (b"", frame[:4], frame[:-1], frame + b"x", frame + frame, b"\x01" + frame[1:], b"\x02" + frame[1:]):
        assert scan(body) is None


def test_a_name_that_is_too_long_is_cut(scan: Scan) -> None:
    assert scan(_frame(_text_field(1, b"x" * 5_000_000))) == "x" * 1024


def test_a_message_of_endless_fields_does_not_hold_up_envoy(scan: Scan) -> None:
    assert scan(_frame(b"\xa0\x01\x01" * 5_000_000)) is None


# What is asked for, and what a server that knows neither aliases nor versions within names is to read.
_HANDED_ON = [
    ("resnet", "", "resnet", ""),
    ("resnet", "3", "resnet", "3"),
    ("resnet", "staging", "resnet", ""),
    ("resnet", "v3", "resnet", ""),
    ("resnet@3", "", "resnet", "3"),
    ("resnet@staging", "", "resnet", ""),
    ("r" * 100 + "@" + "s" * 100, "", "r" * 100, ""),
    ("r" * 300 + "@3", "", "r" * 300, "3"),
    # No key of a route: told as they are, to whoever refuses them.
    ("resnet@staging", "staging", "resnet@staging", "staging"),
    ("resnet@3", "3", "resnet@3", "3"),
    ("resnet@", "", "resnet@", ""),
    ("@3", "", "@3", ""),
    ("a@b@3", "", "a@b@3", ""),
    ("", "3", "", "3"),
]


def _sent(send: Send, message: bytes) -> Any:
    """The request that goes on, and whether it is as it came."""
    answer = send(_frame(message))
    assert answer
    frame = answer[1]
    assert frame[:1] == b"\0" and int.from_bytes(frame[1:5], "big") == len(frame) - 5
    return service_pb2.ModelInferRequest.FromString(frame[5:]), frame[5:] == message


@pytest.mark.parametrize(("asked", "handed_on"), [(row[:2], row[2:]) for row in _HANDED_ON])
@pytest.mark.parametrize("tensor_bytes", [0, 600_000])
def test_a_replica_reads_a_name_and_a_number_or_none(
    send: Send, asked: tuple[str, str], handed_on: tuple[str, str], tensor_bytes: int
) -> None:
    name, version = asked
    request = service_pb2.ModelInferRequest(model_name=name, model_version=version, id="7")
    request.raw_input_contents.append(bytes(range(256)) * (tensor_bytes // 256))
    sent, is_untouched = _sent(send, request.SerializeToString())
    assert (sent.model_name, sent.model_version) == handed_on
    assert is_untouched == (asked == handed_on)
    assert (sent.id, sent.raw_input_contents) == (request.id, request.raw_input_contents)


def test_what_is_very_large_is_not_copied(send: Send) -> None:
    message = _text_field(1, b"resnet@staging") + _text_field(7, bytes(64 << 20))
    sent, is_untouched = _sent(send, message)
    assert is_untouched and sent.model_name == "resnet@staging"


def test_the_last_of_several_names_is_overridden(send: Send) -> None:
    fields = [(1, b"a@b"), (2, b"x"), (7, b"tensor"), (1, b"resnet"), (2, b"staging"), (2, b""), (1, b"resnet@eu")]
    sent, _ = _sent(send, b"".join(_text_field(number, text) for number, text in fields))
    assert (sent.model_name, sent.model_version, list(sent.raw_input_contents)) == ("resnet", "", [b"tensor"])


_NAME_PARTS = st.sampled_from(["resnet", "a.b", "é", "", "staging", "3", "03", "x" * 130])
_NAMES = st.builds("@".join, st.lists(_NAME_PARTS, min_size=1, max_size=3))
_NAMED_MESSAGES = st.builds(
    lambda before, name, version, after: before + _text_field(1, name.encode()) + _text_field(2, version) + after,
    _MESSAGES,
    _NAMES,
    st.sampled_from([b"", b"3", b"staging", b"12345678901234567890"]),
    _MESSAGES,
)


@_shared_envoy
@given(message=_NAMED_MESSAGES)
def test_nothing_else_of_a_message_changes(send: Send, message: bytes) -> None:
    asked = service_pb2.ModelInferRequest.FromString(message)
    sent, _ = _sent(send, message)
    if asked.model_version:
        has_alias = not asked.model_version.isdigit() and "@" not in asked.model_name
        wanted = (asked.model_name, "" if has_alias else asked.model_version)
    else:
        bare, _, part = asked.model_name.partition("@")
        is_split = bool(bare and part and "@" not in part)
        wanted = (bare, part if part.isdigit() else "") if is_split else (asked.model_name, "")
    assert (sent.model_name, sent.model_version) == wanted
    for request in (asked, sent):
        request.ClearField("model_name")
        request.ClearField("model_version")
    assert sent == asked
