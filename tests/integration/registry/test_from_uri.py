"""Registering what the controller reads itself: a folder of its own disk, and web servers of all kinds."""

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import aio

from controlplane.registry.files.uri_source import open_uri
from modelyard import packing
from modelyard.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, UnavailableError
from modelyard.v1 import registry_pb2 as pb
from tests.harness.onnx_models import write_model_with_external_data
from tests.harness.onnx_pieces import linear_bytes
from tests.integration.registry.conftest import Yard


class Web(http.server.SimpleHTTPRequestHandler):
    """Files, and a status for each path that is named like one; /to?URL leads elsewhere."""

    def send_head(self) -> Any:
        name = self.path.strip("/")
        if name.startswith("to?"):
            self.send_response(302)
            self.send_header("Location", name.removeprefix("to?"))
            self.end_headers()
            return None
        if name.isdigit():
            self.send_error(int(name))
            return None
        return super().send_head()

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "model.onnx").write_bytes(linear_bytes())
    (tmp_path / "web" / "secret").write_bytes(b"secret")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Web, directory=str(tmp_path / "web")))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def register(yard: Yard, uri: str) -> tuple[Any, list[str]]:
    """The version, and the steps that were told."""
    header = pb.CreateVersionRequest.Header(parent="models/m")
    steps: list[str] = []
    async for response in yard.stub.CreateVersionFromUri(pb.CreateVersionFromUriRequest(header=header, uri=uri)):
        if response.WhichOneof("message") == "version":
            return response.version, steps
        steps.append(response.progress.step)
    raise AssertionError("no version came")


async def test_a_folder_with_files_of_whole_blocks(yard: Yard, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    write_model_with_external_data(folder / "model.onnx", np.ones(4096, np.float32))
    (folder / "empty").write_bytes(b"")
    (folder / "block").write_bytes(bytes(packing.CHUNK_BYTES))
    version, steps = await register(yard, f"file://{folder}")
    assert version.details.onnx.external_data_files
    assert version.source.uri == f"file://{folder}"
    assert steps


async def test_a_file_from_the_web_and_where_it_came_from(yard: Yard, web: str) -> None:
    with_password = web.replace("http://", "http://ann:secret@")
    version, _ = await register(yard, f"{with_password}/model.onnx?signature=secret")
    assert await yard.read(version.sha256) == linear_bytes()
    assert version.source.uri == f"{web}/model.onnx"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("404", grpc.StatusCode.NOT_FOUND),
        ("403", grpc.StatusCode.FAILED_PRECONDITION),
        ("503", grpc.StatusCode.UNAVAILABLE),
    ],
)
async def test_what_a_web_server_says_is_told(yard: Yard, web: str, path: str, code: grpc.StatusCode) -> None:
    with pytest.raises(aio.AioRpcError) as caught:
        await register(yard, f"{web}/{path}")
    assert caught.value.code() is code
    assert f"{web}/{path}" in (caught.value.details() or "")
    assert yard.is_untouched()


def test_a_web_server_that_is_not_there_is_unavailable(web: str) -> None:
    with pytest.raises(UnavailableError, match="cannot be read now"):
        open_uri("http://127.0.0.1:1/model.onnx", ())


def read(uri: str, prefixes: tuple[str, ...]) -> bytes:
    return b"".join(open_uri(uri, prefixes).read())


def test_a_redirect_leads_nowhere_where_only_some_places_may_be_read(web: str) -> None:
    uri = f"{web}/to?{web}/secret"
    assert read(uri, ()) == b"secret"
    with pytest.raises(InvalidArgumentError, match="leads elsewhere"):
        read(uri, (web,))
    for path in ("models/%2e%2e/secret", "models/..?/secret", "models/%2e%2e?x"):
        with pytest.raises(InvalidArgumentError, match=r"'::' or '\.\.'"):
            read(f"{web}/{path}", (f"{web}/models",))
    assert read(f"{web}/model.onnx", (web,)) == linear_bytes()


def test_no_access_and_nothing_there_are_told_apart(web: str) -> None:
    with pytest.raises(FailedPreconditionError, match="may not read"):
        open_uri(f"{web}/401", ())
    with pytest.raises(NotFoundError, match="spelled right"):
        open_uri(f"{web}/410", ())
