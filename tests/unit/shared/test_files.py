import os
from pathlib import Path

import pytest

from modelyard.errors import FailedPreconditionError
from modelyard.files import hold_data_folder, write_whole


def test_a_second_program_of_the_kind_is_told_who_has_the_folder(tmp_path: Path) -> None:
    refused = pytest.raises(FailedPreconditionError, match=f"another agent, process {os.getpid()} .*--data")
    with hold_data_folder(tmp_path, "agent"), refused, hold_data_folder(tmp_path, "agent"):
        pass
    with hold_data_folder(tmp_path, "agent"):
        pass


def test_programs_of_other_kinds_may_share_a_folder(tmp_path: Path) -> None:
    with hold_data_folder(tmp_path, "agent"), hold_data_folder(tmp_path, "router"):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["agent.lock", "router.lock"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(FailedPreconditionError, match="give another --data"),
        hold_data_folder(tmp_path / "file", "agent"),
    ):
        pass


def test_a_write_that_fails_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(tmp_path / "file", b"old")

    def fail(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_folder_that_is_made_is_its_owners_alone(tmp_path: Path) -> None:
    with hold_data_folder(tmp_path / "new", "agent"):
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_there_keeps_its_rights(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    with hold_data_folder(tmp_path, "agent"):
        assert tmp_path.stat().st_mode & 0o777 == 0o750
