"""What a process in a real cgroup with limits is told that it may have, where this host lets us make one."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from nodeagent.devices.cgroups import UNIFIED, Cgroup, find_cgroups

MEMORY_BYTES = 700 << 20

READ_OFFER = """
import json, os, sys
from pathlib import Path
for folder in sys.argv[1:]:
    (Path(folder) / "cgroup.procs").write_text(str(os.getpid()))
from nodeagent.devices.cpu_offer import compute_offer, read_host
host = read_host()
offer = compute_offer(host, None, None)
print(json.dumps([host.limits.cpus, len(offer.cores), offer.memory_bytes, len(offer.reasons)]))
"""


def make(parent: Path, files: Mapping[str, str]) -> Path:
    """A cgroup with these limits; the test is skipped where that may not be."""
    folder = parent / f"modelyard-test-{os.getpid()}"
    try:
        folder.mkdir()
        for name, value in files.items():
            (folder / name).write_text(value)
    except OSError as error:
        if folder.exists():
            folder.rmdir()
        pytest.skip(f"no cgroup with limits can be made here: {error}")
    return folder


def plan(cgroups: Mapping[str, Cgroup]) -> list[tuple[Path, dict[str, str]]]:
    if {"cpu", "memory"} <= cgroups.keys():
        return [
            (cgroups["cpu"].folder, {"cpu.cfs_quota_us": "150000", "cpu.cfs_period_us": "100000"}),
            (cgroups["memory"].folder, {"memory.limit_in_bytes": str(MEMORY_BYTES)}),
        ]
    if UNIFIED in cgroups:
        return [(cgroups[UNIFIED].top, {"cpu.max": "150000 100000", "memory.max": str(MEMORY_BYTES)})]
    pytest.skip("this host has no cgroups")


@pytest.fixture
def limited() -> Iterator[list[Path]]:
    folders: list[Path] = []
    try:
        folders.extend(make(parent, files) for parent, files in plan(find_cgroups()))
        yield folders
    finally:
        for folder in folders:
            folder.rmdir()


def test_a_process_with_limits_offers_no_more_than_they_allow(limited: list[Path]) -> None:
    ran = subprocess.run([sys.executable, "-c", READ_OFFER, *map(str, limited)], capture_output=True, check=True)
    cpus, cores, memory_bytes, reasons = json.loads(ran.stdout)
    assert (cpus, cores, memory_bytes) == (1.5, 1, MEMORY_BYTES)
    assert reasons >= 1
