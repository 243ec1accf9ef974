"""One Envoy process: what it is started with, and all that the next router process must know of it."""

import contextlib
import hashlib
import json
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path

from modelyard.processes import ProcessIdentity
from router.envoy.admin import Admin
from router.envoy.bootstrap import make_bootstrap

# Within this time after the start of a drain clients are asked to go; then the listener closes.
DRAIN_TIME_S = 2
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
class EnvoySpec:
    """What a running Envoy cannot be told to change; another spec needs another process."""

    binary: Path
    concurrency: int
    memory_limit_bytes: int
    listen_host: str
    listen_port: int

    @property
    def fingerprint(self) -> str:
        """Changes also when the binary was replaced, or the bootstrap looks different. Raises OSError."""
        found = self.binary.stat()
        placeholder = make_bootstrap("", {}, Path(), Path(), self.memory_limit_bytes)
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


@dataclass(frozen=True)
class EnvoyProcess:
    """`config` is the file on its command line, in the run folder; `listen_port` is its own, 0 where none is known."""

    identity: ProcessIdentity
    config: Path
    fingerprint: str
    listen_host: str
    listen_port: int

    @property
    def node_id(self) -> str:
        """How it names itself to the ADS server."""
        return self.config.stem

    @property
    def admin(self) -> Admin:
        return Admin(self.config.with_suffix(".sock"))

    def matches(self, spec: EnvoySpec) -> bool:
        """Whether it was started as `spec` wants it."""
        mine = (self.fingerprint, self.listen_host, self.listen_port)
        return mine == (spec.fingerprint, spec.listen_host, spec.listen_port)

    def disown(self) -> None:
        """To be called before it drains: without its file no later router process takes it for one that may serve."""
        self.config.unlink(missing_ok=True)

    def remove_files(self) -> None:
        self.config.unlink(missing_ok=True)
        self.config.with_suffix(".sock").unlink(missing_ok=True)


def launch(spec: EnvoySpec, folders: EnvoyFolders) -> tuple[EnvoyProcess, subprocess.Popen[bytes]]:
    """Starts it in a session of its own, so that it outlives this process and a Ctrl-C at its terminal.

    Raises OSError where the binary cannot be run, or nothing be written.
    """
    config = folders.run / f"envoy-{secrets.token_hex(4)}.json"
    command = [str(spec.binary), "-c", str(config), "--concurrency", str(spec.concurrency), *_ARGUMENTS]
    try:
        # All that the next router process must know is there before the process is: this one may be killed in between.
        _write_config(config, spec, folders)
        child = _start([*command, "--log-path", str(folders.log)], folders.log)
    except OSError:
        config.unlink(missing_ok=True)
        raise
    identity = ProcessIdentity.of(child.pid)
    return EnvoyProcess(identity, config, spec.fingerprint, spec.listen_host, spec.listen_port), child


def _write_config(path: Path, spec: EnvoySpec, folders: EnvoyFolders) -> None:
    known = {
        "fingerprint": spec.fingerprint,
        "listen_host": spec.listen_host,
        "listen_port": spec.listen_port,
    }
    admin_socket = path.with_suffix(".sock")
    bootstrap = make_bootstrap(path.stem, known, admin_socket, folders.ads_socket, spec.memory_limit_bytes)
    path.write_text(json.dumps(bootstrap))


def _start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
