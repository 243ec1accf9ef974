"""A cgroup for each replica, in a folder that does as cgroupfs does."""

from pathlib import Path

import pytest

from modelyard.errors import FailedPreconditionError
from nodeagent.devices import cgroup_box
from nodeagent.devices.cgroup_box import CgroupBox, make_boxes
from nodeagent.devices.cgroups import Cgroup
from nodeagent.devices.memory_box import NoBox
from tests.harness.host_files import CgroupTree, write_tree

AGENT_PID = 700
MIB = 1 << 20


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CgroupTree:
    tree = CgroupTree(tmp_path / "cgroup", monkeypatch)
    given = tree.root / "agent.service"
    given.mkdir()
    (given / "cgroup.procs").write_text(f"{AGENT_PID}\n")
    return tree


@pytest.fixture
def given(tree: CgroupTree) -> Path:
    return tree.root / "agent.service"


@pytest.fixture
def box(given: Path, tree: CgroupTree) -> CgroupBox:
    box = make_boxes(Cgroup(given, tree.root), AGENT_PID)
    (given / "cgroup.procs").write_text("")  # the kernel takes out who goes elsewhere
    return box


def read(folder: Path, name: str) -> str:
    return (folder / name).read_text().strip()


def test_the_agent_makes_room_and_hands_the_memory_controller_down(box: CgroupBox, given: Path) -> None:
    assert read(given / "agent", "cgroup.procs") == str(AGENT_PID)
    assert read(given, "cgroup.subtree_control") == read(given / "replicas", "cgroup.subtree_control") == "+memory"


def test_stated_memory_is_a_limit_for_all_processes_of_a_replica_together(box: CgroupBox, given: Path) -> None:
    box.put("r1", 801, 512 * MIB)
    own = given / "replicas" / "r1"
    assert read(own, "cgroup.procs") == "801"
    assert read(own, "memory.max") == str(512 * MIB)
    assert (read(own, "memory.swap.max"), read(own, "memory.oom.group")) == ("0", "1")


def test_an_estimate_is_no_limit(box: CgroupBox, given: Path) -> None:
    box.put("r1", 801, 0)
    own = given / "replicas" / "r1"
    assert (read(own, "memory.max"), read(own, "memory.swap.max")) == ("max", "max")


def test_kills_are_counted_where_its_own_limit_was_reached(box: CgroupBox, given: Path) -> None:
    box.put("r1", 801, 512 * MIB)
    assert box.oom_kills("r1") == 0
    own = given / "replicas" / "r1"
    # The host's memory ran out: it was not this replica that took too much.
    write_tree(own, {"memory.events": "low 0\nhigh 0\nmax 7\noom 0\noom_kill 1\noom_group_kill 1"})
    assert box.oom_kills("r1") == 0
    write_tree(own, {"memory.events": "low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\noom_group_kill 1"})
    assert box.oom_kills("r1") == 3
    assert box.oom_kills("r2") == 0


def test_a_replica_that_starts_again_is_put_into_the_cgroup_that_is_there(box: CgroupBox, given: Path) -> None:
    box.put("r1", 801, 512 * MIB)
    write_tree(given / "replicas" / "r1", {"memory.events": "oom 1\noom_kill 1"})
    assert box.oom_kills("r1") == 1
    box.put("r1", 802, 512 * MIB)
    assert read(given / "replicas" / "r1", "cgroup.procs") == "802"
    assert box.oom_kills("r1") == 0  # that was the one before


def test_what_an_ended_replica_left_running_is_ended_and_its_cgroup_removed(box: CgroupBox, given: Path) -> None:
    box.put("r1", 801, 512 * MIB)
    box.remove("r1")  # its cgroup can be removed only since its process is killed
    assert not (given / "replicas" / "r1").exists()
    box.remove("r1")


def test_a_cgroup_that_stays_in_use_is_named(
    box: CgroupBox, given: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cgroup_box, "_PAUSE_S", 0.0)
    box.put("r1", 801, 512 * MIB)
    (given / "replicas" / "r1" / "cgroup.kill").unlink()  # an older kernel
    box.remove("r1")
    assert "is still in use" in caplog.text


def test_a_limit_that_the_kernel_refuses_leaves_the_replica_running(
    box: CgroupBox, given: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = given / "replicas" / "r1"
    own.mkdir()
    (own / "memory.max").unlink()
    box.put("r1", 801, 512 * MIB)
    assert "r1: its memory is watched, and not limited by the kernel" in caplog.text


def test_a_kernel_without_swap_or_group_kills_limits_memory(box: CgroupBox, given: Path) -> None:
    own = given / "replicas" / "r1"
    own.mkdir()
    for name in ("memory.swap.max", "memory.oom.group"):
        (own / name).unlink()
    box.put("r1", 801, 512 * MIB)
    assert (read(own, "memory.max"), read(own, "cgroup.procs")) == (str(512 * MIB), "801")


def test_what_an_earlier_agent_left_is_removed_and_what_runs_is_not(box: CgroupBox, given: Path) -> None:
    box.put("r1", 801, 512 * MIB)
    box.put("r2", 802, 512 * MIB)
    box.remove_all_but({"r2"})
    assert [path.name for path in (given / "replicas").iterdir() if path.is_dir()] == ["r2"]


def test_the_next_agent_finds_the_same_cgroups_wherever_it_is_put(
    box: CgroupBox, given: Path, tree: CgroupTree
) -> None:
    box.put("r1", 801, 512 * MIB)
    (given / "agent" / "cgroup.procs").write_text("900\n")
    again = make_boxes(Cgroup(given / "agent", tree.root), 900)
    again.remove_all_but(())
    assert not (given / "replicas" / "r1").exists()


def test_a_cgroup_with_other_processes_is_left_alone(given: Path, tree: CgroupTree) -> None:
    (given / "cgroup.procs").write_text(f"{AGENT_PID}\n4711\n")
    with pytest.raises(FailedPreconditionError, match="has other processes, such as process 4711"):
        make_boxes(Cgroup(given, tree.root), AGENT_PID)
    assert not (given / "agent").exists()
    assert read(given, "cgroup.subtree_control") == ""


def test_without_the_controller_the_reason_is_told(given: Path, tree: CgroupTree) -> None:
    (given / "cgroup.controllers").write_text("pids hugetlb\n")
    with pytest.raises(FailedPreconditionError, match=r"the memory controller is not in cgroup .*agent\.service"):
        make_boxes(Cgroup(given, tree.root), AGENT_PID)


def test_a_cgroup_that_is_not_the_agents_is_left_alone(given: Path, tree: CgroupTree) -> None:
    (given / "cgroup.subtree_control").unlink()
    with pytest.raises(FailedPreconditionError, match="is not this agent's to divide"):
        make_boxes(Cgroup(given, tree.root), AGENT_PID)


def test_where_there_is_none_it_is_said_once_and_nothing_is_limited(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cgroup_box, "find_cgroups", dict)
    with caplog.at_level("INFO"):
        box = cgroup_box.open_box()
    assert isinstance(box, NoBox)
    assert caplog.text.count("this host has no cgroups of version 2") == 1
    box.put("r1", 1, 1)
    assert box.oom_kills("r1") == 0
    box.remove("r1")
    box.remove_all_but(())
