"""Which processes are Envoys of this router, and what is known of them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from modelyard.processes import ProcessIdentity
from router.envoy import discovery
from router.envoy.discovery import find_processes, held_port, remove_stale_files
from router.envoy.process import EnvoyFolders

_KNOWN = {"fingerprint": "print", "listen_host": "127.0.0.1", "listen_port": 8001}


def _write(path: Path, **more: object) -> list[str]:
    """A configuration at `path`; the command line of an Envoy that has it."""
    path.write_text(json.dumps({"node": {"id": path.stem, "metadata": {**_KNOWN, **more}}}))
    return _command(path)


def _command(path: Path, log: Path | None = None) -> list[str]:
    return ["/usr/bin/envoy", "-c", str(path), "--concurrency", "2", "--log-path", str(log or path.parent / "log")]


@pytest.fixture
def folders(tmp_path: Path) -> EnvoyFolders:
    return EnvoyFolders(run=tmp_path, log=tmp_path / "log")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the command lines of all processes. What is looked at more closely is this process itself."""

    def set_processes(*commands: list[str] | None, user: int = os.getuid()) -> None:
        processes = [
            SimpleNamespace(pid=os.getpid(), info={"cmdline": command, "uids": SimpleNamespace(real=user)})
            for command in commands
        ]
        monkeypatch.setattr(psutil, "process_iter", lambda _: processes)

    return set_processes


def test_an_envoy_is_known_by_its_command_line_and_its_configuration(
    tmp_path: Path, folders: EnvoyFolders, host: Any
) -> None:
    config = tmp_path / "envoy-1.json"
    host(None, [], ["python", "-m", "router"], _write(config), _command(config, tmp_path / "other.log"))
    (process,) = find_processes(folders)
    assert process.identity == ProcessIdentity.of(os.getpid())
    assert (process.config, process.node_id) == (config, "envoy-1")
    assert (process.fingerprint, process.listen_host, process.listen_port) == ("print", "127.0.0.1", 8001)


def test_other_users_are_left_alone(tmp_path: Path, folders: EnvoyFolders, host: Any) -> None:
    host(_write(tmp_path / "envoy-1.json"), user=os.getuid() + 1)
    assert find_processes(folders) == []


def test_one_with_other_sockets_is_known_and_fits_no_spec(tmp_path: Path, folders: EnvoyFolders, host: Any) -> None:
    """As after a change of the folder for temporary files."""
    (tmp_path / "elsewhere").mkdir()
    config = tmp_path / "elsewhere" / "envoy-1.json"
    _write(config)
    host(_command(config, folders.log))
    (process,) = find_processes(folders)
    assert (process.fingerprint, process.listen_port) == ("", 8001)


def test_a_later_version_may_write_more(tmp_path: Path, folders: EnvoyFolders, host: Any) -> None:
    host(_write(tmp_path / "envoy-1.json", colour="blue"))
    assert find_processes(folders)[0].listen_port == 8001


@pytest.mark.parametrize(
    "content", [None, "", "{", "[1]", '{"node": {}}', '{"node": {"metadata": {"listen_port": 1}}}']
)
def test_one_without_its_configuration_fits_no_spec_and_still_has_its_port(
    tmp_path: Path, folders: EnvoyFolders, host: Any, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    monkeypatch.setattr(discovery, "_find_listener", lambda _: ("127.0.0.1", 9001))
    config = tmp_path / "envoy-1.json"
    if content is not None:
        config.write_text(content)
    host(_command(config))
    found = find_processes(folders)
    assert [process.fingerprint for process in found] == [""]
    for wanted in (9001, 0):
        with held_port("127.0.0.1", wanted, found) as port:
            assert port == 9001


def test_a_script_and_the_envoy_that_it_runs_are_one(tmp_path: Path, folders: EnvoyFolders, host: Any) -> None:
    command = _write(tmp_path / "envoy-1.json")
    host(["/bin/sh", *command], command)
    assert len(find_processes(folders)) == 1


def test_what_dead_envoys_left_is_removed(tmp_path: Path, folders: EnvoyFolders, host: Any) -> None:
    host(_write(tmp_path / "envoy-1.json"))
    for name in ("envoy-1.sock", "envoy-2.json", "envoy-3.sock", "xds.sock"):
        (tmp_path / name).touch()
    remove_stale_files(tmp_path, find_processes(folders))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["envoy-1.json", "envoy-1.sock", "xds.sock"]
