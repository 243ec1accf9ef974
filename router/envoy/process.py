"""One Envoy process: how it is started, and known again by the next router process."""

import contextlib
import hashlib
import json
import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from modelyard.processes import ProcessIdentity
from router.envoy.address import claim_port
from router.envoy.admin import Admin
from router.envoy.bootstrap import make_bootstrap

# Within this time after the start of a drain clients are asked to go; then the listener closes.
DRAIN_TIME_S = 2


@dataclass(frozen=True)
class EnvoySpec:
    """What a running Envoy cannot be told to change; another spec needs another process."""

    binary: Path
    concurrency: int
    listen_host: str
    listen_port: int

    @property
    def fingerprint(self) -> str:
        """Changes also when the binary was replaced, or the bootstrap looks different."""
        found = self.binary.stat()
        placeholder = make_bootstrap("", Path(), Path())
        parts = [str(self.binary), found.st_size, found.st_mtime_ns, self.concurrency, placeholder, _ARGUMENTS]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True)
class EnvoyFolders:
    run: Path
    log: Path

    @property
    def ads_socket(self) -> Path:
        return self.run / "xds.sock"

    @property
    def local_socket(self) -> Path:
        return self.run / "local.sock"

    def remove_sockets(self) -> None:
        for path in (self.ads_socket, self.local_socket):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # what is not ours stays
            self.run.rmdir()


_ARGUMENTS = [
    "--disable-hot-restart",
    "--log-level",
    "warning",
    "--drain-time-s",
    str(DRAIN_TIME_S),
    "--drain-strategy",
    "immediate",
]


@dataclass(frozen=True)
class EnvoyProcess:
    """`listen_port` is its own, `node_id` how it names itself to the ADS server."""

    pid: int
    start_time: float
    node_id: str
    admin_socket: str
    fingerprint: str
    listen_host: str
    listen_port: int

    @property
    def identity(self) -> ProcessIdentity:
        return ProcessIdentity(self.pid, self.start_time)

    @property
    def admin(self) -> Admin:
        return Admin(Path(self.admin_socket))

    def matches(self, spec: EnvoySpec) -> bool:
        """Whether it was started as `spec` wants it."""
        mine = (self.fingerprint, self.listen_host, self.listen_port)
        return mine == (spec.fingerprint, spec.listen_host, spec.listen_port)

    def remove_files(self) -> None:
        Path(self.admin_socket).unlink(missing_ok=True)
        Path(self.admin_socket).with_suffix(".json").unlink(missing_ok=True)


def launch(spec: EnvoySpec, folders: EnvoyFolders) -> tuple[EnvoyProcess, subprocess.Popen[bytes]]:
    """Starts it in a session of its own, so that it outlives this process and a Ctrl-C at its terminal.

    Raises OSError where the binary cannot be run.
    """
    mark = secrets.token_hex(4)
    admin_socket = folders.run / f"envoy-{mark}.sock"
    config = admin_socket.with_suffix(".json")
    config.write_text(json.dumps(make_bootstrap(f"envoy-{mark}", admin_socket, folders.ads_socket)))
    command = [str(spec.binary), "-c", str(config), "--concurrency", str(spec.concurrency), *_ARGUMENTS]
    try:
        child = _start([*command, "--log-path", str(folders.log)], folders.log)
    except OSError:
        config.unlink()
        raise
    start_time = ProcessIdentity.of(child.pid).start_time
    process = EnvoyProcess(
        child.pid,
        start_time,
        f"envoy-{mark}",
        str(admin_socket),
        spec.fingerprint,
        spec.listen_host,
        spec.listen_port,
    )
    return process, child


def _start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)


def choose_port(host: str, port: int, found: Sequence[EnvoyProcess]) -> int:
    """The port to listen on at `host`: that of an Envoy of ours where it fits, else `port`, or a free one for 0.

    Raises FailedPreconditionError where somebody else listens there.
    """
    for process in found:
        if process.listen_host == host and port in (0, process.listen_port):
            return process.listen_port
    return claim_port(host, port)


def dump_processes(processes: list[EnvoyProcess]) -> bytes:
    return json.dumps([asdict(process) for process in processes], indent=1).encode()


def load_processes(path: Path) -> list[EnvoyProcess]:
    """Those recorded in the file that are still alive; none where there is no such file or it is damaged."""
    try:
        recorded = [EnvoyProcess(**fields) for fields in json.loads(path.read_bytes())]
    except (OSError, ValueError, TypeError):
        return []
    return [process for process in recorded if process.identity.is_alive()]
