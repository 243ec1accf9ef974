"""The kernel itself holds a replica to its memory, where this host lets us divide a cgroup of version 2."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from nodeagent.devices.cgroups import UNIFIED, find_cgroups
from tests.harness.programs import wait_for

MIB = 1 << 20

# An agent of a cgroup of its own, with one replica that takes more than it is given, and one process beside that.
AGENT = """
import json, os, subprocess, sys
from pathlib import Path
from nodeagent.devices.cgroup_box import make_boxes
from nodeagent.devices.cgroups import Cgroup
given = Path(sys.argv[1])
(given / "cgroup.procs").write_text(str(os.getpid()))
box = make_boxes(Cgroup(given, given.parent), os.getpid())
grow = "import os, sys; sys.stdin.read(1); held = bytearray(os.urandom(1 << 20) * int(sys.argv[1])); print(len(held))"
replica = subprocess.Popen([sys.executable, "-c", grow, "256"], stdin=subprocess.PIPE)
box.put("r1", replica.pid, 64 << 20)
replica.communicate(b"x")
killed = box.oom_kills("r1")
box.remove("r1")
left = [path.name for path in (given / "replicas").iterdir() if path.is_dir()]
print(json.dumps({"code": replica.returncode, "oom_kills": killed, "left": left}))
"""


def find_place() -> Path | None:
    """A cgroup whose children can be limited, and where we may make one."""
    cgroup = find_cgroups().get(UNIFIED)
    for folder in cgroup.upwards() if cgroup else ():
        control = folder / "cgroup.subtree_control"
        if control.exists() and "memory" in control.read_text().split() and os.access(folder, os.W_OK):
            return folder
    return None


@pytest.fixture
def given() -> Iterator[Path]:
    place = find_place()
    if place is None:
        pytest.skip("no cgroup of version 2 with the memory controller is ours to divide here")
    folder = place / f"modelyard-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made in {place}: {error}")
    yield folder
    for path in (folder / "replicas", folder / "agent", folder):
        with suppress(FileNotFoundError):
            wait_for(lambda path=path: not (path / "cgroup.procs").read_text(), f"the end of what is in {path}")
            path.rmdir()


def test_a_process_that_takes_more_than_it_was_given_is_killed_and_counted(given: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", AGENT, str(given)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["code"] == -9
    assert told["oom_kills"] >= 1
    assert told["left"] == []
