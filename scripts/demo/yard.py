"""A yard for the demo: `modelyard up` as a child process, and the commands that a person would type."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

MODELYARD = str(Path(sys.executable).with_name("modelyard"))


class DemoYard:
    """Runs from entering to leaving. A first Ctrl-C while it stops lets it finish, a second one ends it at once."""

    def __init__(self, data: Path) -> None:
        # Not in the terminal's group: Ctrl-C reaches this process, which then stops the yard once.
        read_end, self._parent_fd = os.pipe()
        listen = ["--listen", choose_address(8001), "--controller-listen", choose_address(8010)]
        self._process = subprocess.Popen(
            [MODELYARD, "up", "--json", "--data", str(data), *listen, "--parent-fd", str(read_end)],
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
            pass_fds=[read_end],
        )
        os.close(read_end)
        self.facts: dict[str, Any] = {}

    def __enter__(self) -> Self:
        """Raises SystemExit where it does not start; it has told why."""
        assert self._process.stdout is not None
        try:
            line = self._process.stdout.readline()
        except BaseException:
            self.stop()
            raise
        self.facts = json.loads(line) if line else {}
        if "router" not in self.facts:
            sys.exit(self._process.wait())
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def environment(self) -> dict[str, str]:
        return {"MODELYARD_CONTROLLER": self.facts["controller"], "MODELYARD_ROUTER": self.facts["router"]}

    def type_command(self, *arguments: str) -> str:
        """Shows and runs a command as a person would, and returns what it prints. Raises SystemExit where it fails."""
        print("$ modelyard", shlex.join(arguments), file=sys.stderr)
        done = subprocess.run(
            [MODELYARD, *arguments],
            check=False,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment},
        )
        print(done.stdout, end="", file=sys.stderr)
        if done.returncode != 0:
            sys.exit(done.returncode)
        return done.stdout.strip()

    def wait(self) -> int:
        """Until it ends by itself, which it should not; its exit status."""
        return self._process.wait()

    def stop(self) -> None:
        for _ in range(2):
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait()
                return
            except KeyboardInterrupt:
                continue


def choose_address(port: int) -> str:
    """The loopback with this port, or with any free one (port 0) where it is taken."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return "127.0.0.1:0"
    return f"127.0.0.1:{port}"
