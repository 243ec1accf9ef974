"""Real model servers with tiny real models."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.programs import Program

StartServer = Callable[..., Program]


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts `python -m nodeagent.modelserver` for a file as `m@3`, with the flags given."""
    servers: list[Program] = []

    def start(file: Path, *flags: str) -> Program:
        arguments = ["--model", "m", "--version", "3", "--file", str(file), *flags]
        servers.append(Program("nodeagent.modelserver", arguments, tmp_path / f"server{len(servers)}.log"))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.kill()
