"""A route table and a data plane to compute resources from."""

from collections.abc import Callable, Mapping, Sequence

import pytest

from router.table import Endpoint, Pool, Route, Table
from router.xds.data_plane import DataPlane


def _make_table(version: int, pools: Mapping[str, Sequence[int]], routes: Mapping[str, str | None]) -> Table:
    """`pools`: name -> ports on the loopback; `routes`: key -> pool, or None where nothing is ready."""
    made = {
        name: Pool(name, tuple(Endpoint("127.0.0.1", port, 1) for port in ports), no_retries=False)
        for name, ports in pools.items()
    }
    return Table(
        version,
        tuple(made.values()),
        tuple(
            Route(
                key, key.partition("@")[0], version, made[pool] if pool else None, "" if pool else f"{key} is loading"
            )
            for key, pool in routes.items()
        ),
    )


@pytest.fixture
def make_table() -> Callable[[int, Mapping[str, Sequence[int]], Mapping[str, str | None]], Table]:
    return _make_table


@pytest.fixture
def plane() -> DataPlane:
    return DataPlane(
        listen_host="127.0.0.1",
        listen_port=8001,
        local_socket="/run/local.sock",
        max_message_bytes=1 << 20,
        request_timeout_s=600,
        retry_buffer_bytes=1 << 18,
    )
