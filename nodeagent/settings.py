"""What the node agent can be told."""

import socket
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from modelyard.config import Address, ProgramSettings, Size, program_config
from nodeagent.devices.cpu import parse_cores
from nodeagent.devices.gpu_selection import parse_names
from nodeagent.devices.gpu_shares import parse_shares
from nodeagent.replica_state import Limits


def _check_ip(text: str) -> str:
    return str(ip_address(text))


def _check_cores(text: str) -> str:
    parse_cores(text)
    return text


def _check_gpus(text: str) -> str:
    parse_names(text)
    return text


def _check_shares(text: str) -> str:
    parse_shares(text)
    return text


class AgentSettings(ProgramSettings):
    """Runs the replicas of one host: fetches their files, starts, probes, restarts and drains their servers.

    Example: modelyard agent --controller 10.0.0.1:8010 --cores 0-7
    """

    program = "agent"
    model_config = program_config("agent")

    data: Path = Field(Path("modelyard-data/agent"), description="folder for what must outlive a restart")
    controller: Address = Field("127.0.0.1:8010", description="where the controller listens")
    node: str = Field(default_factory=socket.gethostname, min_length=1, description="this node's name in the yard")
    address: Annotated[str, AfterValidator(_check_ip)] | None = Field(
        None, description="IP at which routers reach replicas; default: this host's, as the controller sees it"
    )
    cores: Annotated[str, AfterValidator(_check_cores)] | None = Field(
        None, description="CPU cores offered to replicas, as in 0-3,6; default: all that this process may use"
    )
    memory_bytes: Size | None = Field(
        None, gt=0, description="memory offered to replicas, such as 64GiB; default: all that this process may have"
    )
    replicas_per_core: int = Field(1, ge=1, description="how many replicas may be pinned to one core")
    gpus: Annotated[str, AfterValidator(_check_gpus)] = Field(
        "all", description="GPUs offered to replicas: all, none, or UUIDs and indices, as in 0,1:0,GPU-5c3f"
    )
    gpu_shares: Annotated[str, AfterValidator(_check_shares)] = Field(
        "", description="shares in which GPUs are given away beside 100, 50 and 25, in percent, as in 75,10"
    )
    mps_on_mig: bool = Field(False, description="give MIG devices away in shares, too")
    ignored_xids: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="numbers of XID errors that leave a GPU in service, as in 62,74"
    )
    on_stop: Literal["stop", "keep"] = Field(
        "stop", description="at the end: stop drains and stops the replicas, keep leaves them for the next agent"
    )
    max_message_bytes: Size = Field(256 << 20, gt=0, lt=1 << 31, description="largest request and reply of a replica")
    max_typed_bytes: Size = Field(
        8 << 20, gt=0, lt=1 << 31, description="of one request to a replica, all but raw_input_contents"
    )
    max_string_elements: int = Field(1 << 20, ge=1, description="strings (BYTES) of one request to a replica, or reply")
    max_batch_size: int = Field(1 << 16, ge=1, description="rows of one request to a model that takes batches")
    max_concurrent_requests: int = Field(128, ge=1, description="requests that a replica takes at once")
    cache_limit_bytes: Size = Field(
        20 << 30, ge=0, description="model files that no replica uses are removed beyond this size of the cache"
    )
    spare_servers: int = Field(
        1, ge=0, le=64, description="model servers kept in waiting, of each library; 0: every replica starts from cold"
    )
    triton: Path | None = Field(None, description="Triton's program, tritonserver; default: the one on PATH, if any")
    triton_backends: Path | None = Field(
        None, description="folder of Triton's backends; default: beside its program, or /opt/tritonserver/backends"
    )
    triton_command: str | None = Field(
        None,
        description="command that starts a Triton, such as one in a container, in place of --triton; docs/triton.md",
    )
    triton_command_backends: tuple[str, ...] = Field(
        ("onnxruntime", "tensorrt"), description="backends that the Triton of --triton-command has"
    )
    log_limit_bytes: Size = Field(
        4 << 20, gt=0, description="size of a replica's log; as much of what came before is kept"
    )
    start_timeout_s: float = Field(300.0, gt=0, description="time for a replica from its start to its first answer")
    probe_interval_s: float = Field(2.0, gt=0, description="pause between two probes of a replica")
    probe_timeout_s: float = Field(5.0, gt=0, description="time for the answer to a probe")
    pulse_interval_s: float = Field(
        1.0, gt=0, description="pause between two looks at whether a replica does anything; after 3 it is taken out"
    )
    drain_timeout_s: float = Field(30.0, ge=0, description="time for a replica to finish what it began")

    def replica_limits(self) -> Limits:
        return Limits(
            start_timeout_s=self.start_timeout_s,
            probe_interval_s=self.probe_interval_s,
            probe_timeout_s=self.probe_timeout_s,
            pulse_interval_s=self.pulse_interval_s,
            # The server keeps to its own limit: the kill is for one that does not.
            drain_timeout_s=self.drain_timeout_s + 5.0,
        )
