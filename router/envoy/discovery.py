"""The Envoys that earlier router processes left. They are known by their command lines: a record could be lost."""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import psutil

from modelyard.processes import ProcessIdentity
from router.envoy.address import claim_port
from router.envoy.process import EnvoyFolders, EnvoyProcess


def find_processes(folders: EnvoyFolders) -> list[EnvoyProcess]:
    """Those that were started for these folders, the oldest first."""
    found: dict[Path, ProcessIdentity] = {}
    for process in psutil.process_iter(["cmdline", "uids"]):
        config = _find_config(process.info["cmdline"] or (), folders.log)
        if config is None or process.info["uids"].real != os.getuid():
            continue
        with contextlib.suppress(psutil.NoSuchProcess):
            identity = ProcessIdentity.of(process.pid)
            # Where --envoy names a script, two processes have the same arguments; the older is the one that we started.
            found[config] = min(found.get(config, identity), identity, key=lambda known: known.start_time)
    processes = (_describe(identity, config, folders.run) for config, identity in found.items())
    return sorted(processes, key=lambda process: process.identity.start_time)


def remove_stale_files(run: Path, found: Iterable[EnvoyProcess]) -> None:
    """What is left of Envoys that have died. Only for who holds the data folder: nobody else starts any meanwhile."""
    alive = {process.node_id for process in found}
    for path in run.glob("envoy-*"):
        if path.stem not in alive:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def held_port(host: str, port: int, found: Sequence[EnvoyProcess]) -> Iterator[int]:
    """The port to listen on at `host`: that of an Envoy of ours where it fits, else `port`, or a free one for 0.

    Until the end nobody else is given it, also while no Envoy listens there. Raises FailedPreconditionError where
    somebody else does.
    """
    for process in found:
        if process.listen_port and process.listen_host == host and port in (0, process.listen_port):
            yield process.listen_port
            return
    with claim_port(host, port) as claim:
        yield int(claim.getsockname()[1])


def _find_config(command: Sequence[str], log: Path) -> Path | None:
    """By the file that it logs to: that lies with the data, which the sockets and configurations need not."""
    options = dict(pairwise(command))
    return Path(options["-c"]) if "-c" in options and options.get("--log-path") == str(log) else None


def _describe(identity: ProcessIdentity, config: Path, run: Path) -> EnvoyProcess:
    """What its file says. Where that is lost, damaged, says less or lies elsewhere, so that the Envoy cannot reach the
    sockets of this process: one that fits no spec.
    """
    try:
        known = json.loads(config.read_bytes())["node"]["metadata"]
        fingerprint = str(known["fingerprint"]) if config.parent == run else ""
        return EnvoyProcess(identity, config, fingerprint, str(known["listen_host"]), int(known["listen_port"]))
    except (OSError, ValueError, LookupError, TypeError):
        return EnvoyProcess(identity, config, "", *_find_listener(identity.pid))


def _find_listener(pid: int) -> tuple[str, int]:
    """Where it listens as the kernel has it; "" and 0 where it does not, or that cannot be seen."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.Process(pid).net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                return str(connection.laddr.ip), int(connection.laddr.port)
    return "", 0
