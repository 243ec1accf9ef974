from pathlib import Path

import psutil
import pytest

from router.envoy.memory import find_memory_bytes


@pytest.mark.parametrize(
    ("group", "files", "expected"),
    [
        ("0::/yard/router", {"yard/memory.max": "5000", "yard/router/memory.max": "max"}, 5000),
        ("0::/yard/router", {"yard/memory.max": "5000", "yard/router/memory.max": "3000"}, 3000),
        ("0::/out/of/sight", {"memory.max": "4000"}, 4000),
        ("4:cpu:/\n3:memory:/yard", {"memory/yard/memory.limit_in_bytes": "2000"}, 2000),
        ("3:memory:/yard", {"memory/memory.limit_in_bytes": "9223372036854771712"}, psutil.virtual_memory().total),
        ("0::/", {}, psutil.virtual_memory().total),
    ],
)
def test_the_tightest_limit_counts(tmp_path: Path, group: str, files: dict[str, str], expected: int) -> None:
    groups, mounted = tmp_path / "cgroup", tmp_path / "mounted"
    groups.write_text(f"{group}\n")
    for name, content in files.items():
        path = mounted / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    assert find_memory_bytes(groups, mounted) == expected


def test_a_host_without_control_groups(tmp_path: Path) -> None:
    assert find_memory_bytes(tmp_path / "none", tmp_path) == psutil.virtual_memory().total
