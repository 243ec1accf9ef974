import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.devices import cpu


@pytest.mark.parametrize(
    ("text", "cores"), [("0", (0,)), ("0-3,6", (0, 1, 2, 3, 6)), ("7, 1-2", (1, 2, 7)), ("1,1", (1,)), ("2-2", (2,))]
)
def test_sets_of_cores_are_read(text: str, cores: tuple[int, ...]) -> None:
    assert cpu.parse_cores(text) == cores


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "1,,2", "0x1", "3-1", "1.5", "\u00b2", "0-\u00b2"])
def test_what_is_no_set_of_cores_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"as in 0-3"):
        cpu.parse_cores(text)


@pytest.mark.parametrize("text", ["0-99999999999", "8192", "8192-8193"])
def test_a_number_that_no_core_has_is_refused_before_its_range_is_made(text: str) -> None:
    with pytest.raises(ValueError, match="go up to 8191"):
        cpu.parse_cores(text)


@given(st.sets(st.integers(0, 200), min_size=1))
def test_any_set_written_out_is_read_back(cores: set[int]) -> None:
    assert cpu.parse_cores(",".join(map(str, cores))) == tuple(sorted(cores))


@given(st.sets(st.integers(0, 200), min_size=1))
def test_any_set_is_written_as_it_can_be_read(cores: set[int]) -> None:
    assert cpu.parse_cores(cpu.format_cores(cores)) == tuple(sorted(cores))


def test_a_set_is_written_as_people_do() -> None:
    assert cpu.format_cores((6, 0, 1, 2, 3)) == "0-3,6"
    assert cpu.format_cores(()) == ""


def test_all_usable_cores_are_offered_unless_told_otherwise() -> None:
    assert cpu.choose_cores(None, (0, 1, 2)) == (0, 1, 2)
    assert cpu.choose_cores("1-2", (0, 1, 2)) == (1, 2)
    with pytest.raises(ValueError, match=r"cores \[3\] cannot be used here: this process may run on \[0, 1, 2\]"):
        cpu.choose_cores("2-3", (0, 1, 2))


def test_every_numeric_library_gets_the_same_number_of_threads() -> None:
    environment = cpu.thread_environment(3)
    assert {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"} <= set(environment)
    assert set(environment.values()) == {"3"}


def test_a_model_server_asks_for_huge_pages_beside_what_glibc_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    environment = cpu.server_environment(2)
    assert environment == {**cpu.thread_environment(2), "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0")
    assert cpu.server_environment(2)["GLIBC_TUNABLES"] == "glibc.malloc.tcache_count=0:glibc.malloc.hugetlb=1"
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0")
    assert cpu.server_environment(2)["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=0"


def test_the_hardware_class_is_the_name_of_the_cpu(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Fast  CPU @ 3 GHz\nprocessor\t: 1\nmodel name\t: Fast CPU\n")
    assert cpu.read_cpu_model(cpuinfo) == "Fast CPU @ 3 GHz"
    cpuinfo.write_text("processor\t: 0\nBogoMIPS\t: 50.00\n")
    assert cpu.read_cpu_model(cpuinfo) == os.uname().machine
    cpuinfo.write_text("processor\t: 0\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd0c\n")
    assert cpu.read_cpu_model(cpuinfo) == f"{os.uname().machine} implementer 0x41 part 0xd0c"
