"""Bytes that are not the request's message, sent to the router's own service."""

from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode, aio

from router.local.service import SERVICE, create_local_server
from router.table import Table


class NoTable:
    table: Table | None = None


@pytest.mark.parametrize("method", ["ServerLive", "ServerReady", "ServerMetadata", "RepositoryIndex"])
async def test_what_is_no_message_is_refused_with_a_sentence(tmp_path: Path, method: str) -> None:
    socket = tmp_path / "local"
    server = create_local_server(NoTable(), str(socket))
    await server.start()
    try:
        async with aio.insecure_channel(f"unix:{socket}") as channel:
            with pytest.raises(aio.AioRpcError) as caught:
                send: Any = channel.unary_unary(f"/{SERVICE}/{method}")
                await send(b"\xff\xfe no message")
    finally:
        await server.stop(None)
    assert caught.value.code() is StatusCode.INVALID_ARGUMENT
    assert "cannot be read as the message that this method takes" in (caught.value.details() or "")
