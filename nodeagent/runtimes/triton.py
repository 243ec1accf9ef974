"""NVIDIA's Triton: a tritonserver process of its own for each replica. docs/triton.md tells it from the outside."""

import math
import os
import secrets
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from modelyard.addresses import format_address
from nodeagent.devices.cpu import list_usable_cores, server_environment
from nodeagent.devices.gpu_shares import WHOLE
from nodeagent.replica_spec import ReplicaSpec
from nodeagent.runtimes.base import Launch, RuntimeOffer, ServerPlan
from nodeagent.runtimes.triton_backends import choose_backend, knows_signature, list_formats
from nodeagent.runtimes.triton_config import ConfigLimits
from nodeagent.runtimes.triton_exits import explain_triton_exit
from nodeagent.runtimes.triton_install import TritonInstall, fill_template
from nodeagent.runtimes.triton_repository import write_repository
from nodeagent.shared_memory import segment_prefix

_REPOSITORY = "models"  # in the replica's folder
# Who reaches a replica's port may ask it for answers, not read other programs' memory nor write files through it.
_NOT_FOR_CLIENTS = "model-repository,shared-memory,trace,logging"
# What it guesses would be another signature than the one that was registered.
_NO_GUESSES = "--disable-auto-complete-config"
_WHOLE_ONLY = (
    "a Triton that --triton-command starts gets whole GPUs only: what runs in a container cannot be taken off a GPU "
    "that it shares before it is killed"
)
_FIXED_FLAGS = (
    # It loads what lies in the repository, and nothing later: who may load a model may run code.
    "--model-control-mode=none",
    "--allow-http=false",
    # The agent reads the GPUs; Triton's own way writes into /var/log.
    "--allow-gpu-metrics=false",
    # Envoy asks every second whether it is there, which gRPC takes for an attack unless told not to count.
    "--grpc-http2-max-ping-strikes=0",
    "--log-format=ISO8601",
)


@dataclass(frozen=True)
class TritonRuntime:
    install: TritonInstall
    limits: ConfigLimits
    drain_timeout_s: float
    name: str = "triton"

    def offer(self) -> RuntimeOffer:
        return RuntimeOffer(
            version=self.install.version,
            cpu_formats=list_formats(self.install, on_gpu=False),
            gpu_formats=list_formats(self.install, on_gpu=True),
        )

    def why_not(self, spec: ReplicaSpec) -> str:
        if self.install.is_template and spec.gpu and spec.gpu.percent < WHOLE:
            return _WHOLE_ONLY
        return choose_backend(self.install, spec)[1]

    def plan(self, launch: Launch) -> ServerPlan:
        spec = launch.spec
        backend, reason = choose_backend(self.install, spec)
        if backend is None:
            raise ValueError(reason)
        write_repository(launch.folder / _REPOSITORY, launch, backend, self.limits)
        port, metrics_port = choose_ports(launch.host, 2)
        return ServerPlan(
            partial(self._command, launch, port, metrics_port),
            environment=_make_environment(spec),
            port=port,
            metrics_port=metrics_port,
            knows_probes=False,
        )

    def explain_exit(self, code: int, log_tail: str) -> str:
        return explain_triton_exit(log_tail)

    def _command(self, launch: Launch, port: int, metrics_port: int, _ready_fd: int) -> list[str]:
        # By itself it starts in the replica's folder: what runs Python models cannot have a space in a path.
        repository = launch.folder / _REPOSITORY if self.install.is_template else _REPOSITORY
        host = format_address(launch.host, 0).rpartition(":")[0]
        flags = {
            "model-repository": repository,
            "grpc-address": host,
            "grpc-port": port,
            "metrics-address": host,
            "metrics-port": metrics_port,
            "grpc-restricted-protocol": f"{_NOT_FOR_CLIENTS}:modelyard={secrets.token_hex(16)}",
            "exit-timeout-secs": max(1, math.ceil(self.drain_timeout_s)),
            "backend-config": f"python,shm-region-prefix-name={segment_prefix(launch.folder)}",
        }
        if self.install.backends_folder:
            flags["backend-directory"] = self.install.backends_folder
        start = self._fill(launch) if self.install.is_template else self.install.command
        fixed = (_NO_GUESSES, *_FIXED_FLAGS) if knows_signature(launch.spec) else _FIXED_FLAGS
        return [*start, *(f"--{name}={value}" for name, value in flags.items()), *fixed]

    def _fill(self, launch: Launch) -> list[str]:
        spec = launch.spec
        return fill_template(
            self.install.command,
            {
                "repository": str(launch.folder / _REPOSITORY),
                "model": str(launch.file),
                "gpu": spec.gpu.uuid if spec.gpu else "void",
                "cores": ",".join(map(str, spec.cores or list_usable_cores())),
                "name": f"modelyard-{spec.replica_id.replace('@', '-')}",
            },
        )


def _make_environment(spec: ReplicaSpec) -> dict[str, str]:
    # The Python backend takes the packages of the interpreter that it finds first.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**server_environment(spec.threads), "PATH": path}


def choose_ports(host: str, count: int) -> Sequence[int]:
    """Different ones that nobody listens on now. Raises OSError where `host` is not an address of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket(family)) for _ in range(count)]
        for one in held:
            one.bind((host, 0))
        return [int(one.getsockname()[1]) for one in held]
