"""The file of a backup: what was written is read, and nothing else is."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.db.dump_format import DumpHeader, DumpRow, DumpWriter, check_dump, read_header, read_rows
from modelyard.errors import DataLossError, FailedPreconditionError, InvalidArgumentError, YardError

HEADER = DumpHeader("0002", "2026-01-02T03:04:05+00:00", "sqlite")
TABLES: dict[str, tuple[tuple[str, ...], list[list[Any]]]] = {
    "models": (("name", "count"), [["resnet", 1], ["straße\n", None]]),
    "empty": (("x",), []),
}


def write(path: Path, tables: Any = None) -> Path:
    with path.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw) as file:
        writer = DumpWriter(file)
        writer.begin(HEADER)
        for name, (columns, rows) in (TABLES if tables is None else tables).items():
            writer.begin_table(name, columns)
            for row in rows:
                writer.write_row(row)
        writer.end()
    return path


def rewrite(path: Path, change: Any) -> Path:
    """With other lines, and as valid gzip as before."""
    path.write_bytes(gzip.compress(b"".join(change(gzip.decompress(path.read_bytes()).splitlines(keepends=True)))))
    return path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "b")
    assert read_header(path) == HEADER
    columns = ("name", "count")
    assert list(read_rows(path)) == [DumpRow("models", columns, row) for row in TABLES["models"][1]]
    assert check_dump(path) == {"models": 2}


_CELLS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=50)
@given(rows=st.lists(st.lists(_CELLS, max_size=4), max_size=5))
def test_any_cell_comes_back_as_it_was(tmp_path: Path, rows: list[list[Any]]) -> None:
    path = write(tmp_path / "b", {"t": (("a",), rows)})
    assert [row.cells for row in read_rows(path)] == rows


def test_it_is_lines_of_json_for_other_tools(tmp_path: Path) -> None:
    lines = gzip.decompress(write(tmp_path / "b").read_bytes()).decode().splitlines()
    assert [json.loads(line) for line in lines][1:4] == [
        {"table": "models", "columns": ["name", "count"]},
        ["resnet", 1],
        ["straße\n", None],
    ]


def test_a_backup_that_is_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "b").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "b").write_bytes(whole[:length])
        with pytest.raises((DataLossError, InvalidArgumentError)):
            check_dump(tmp_path / "b")


def test_a_backup_with_a_changed_byte_anywhere_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "b").read_bytes()
    # Of the ten bytes of gzip's own header those after the method say nothing of the content.
    for place in (0, 1, 2, *range(10, len(whole))):
        changed = bytearray(whole)
        changed[place] ^= 0x10
        (tmp_path / "b").write_bytes(changed)
        with pytest.raises((DataLossError, InvalidArgumentError)):
            check_dump(tmp_path / "b")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda lines: lines[:-1], "is cut off"),
        (lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]], "checksum is wrong"),
        (lambda lines: [*lines[:3], *lines[4:]], "checksum is wrong"),
        (lambda lines: [*lines, b"[1]\n"], "checksum is wrong"),
        (lambda lines: [*lines[:2], b"7\n", *lines[2:]], "is damaged"),
        (lambda lines: [*lines[:2], b"{]\n", *lines[2:]], "is damaged"),
    ],
)
def test_changed_lines_are_refused_whatever_gzip_says(tmp_path: Path, change: Any, reason: str) -> None:
    with pytest.raises(DataLossError, match=f"{reason}.*another backup"):
        check_dump(rewrite(write(tmp_path / "b"), change))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        b"{}",
        b"\x08\x07onnx",
        pytest.param(gzip.compress(b"{}\n"), id="other-lines"),  # its header holds the time, which is no name of a test
        pytest.param(gzip.compress(b""), id="no-lines"),
    ],
)
def test_a_file_of_another_kind_is_no_backup(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b").write_bytes(content)
    with pytest.raises(InvalidArgumentError, match="is no backup of Modelyard"):
        read_header(tmp_path / "b")


def test_a_format_of_a_newer_program_is_refused_as_such(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(gzip.compress(b'{"modelyard_backup": 2}\n'))
    with pytest.raises(FailedPreconditionError, match="newer Modelyard"):
        read_header(tmp_path / "b")


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(YardError, match="cannot be read"):
        read_header(tmp_path / name)
