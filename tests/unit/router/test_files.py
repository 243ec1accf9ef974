import tempfile
from pathlib import Path

import pytest

from modelyard.errors import FailedPreconditionError
from router.files import make_run_folder


def test_sockets_get_short_paths_in_a_private_folder(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    folder = make_run_folder(long)
    try:
        assert len(str(folder / "envoy-01234567.sock")) < 108
        assert folder.stat().st_mode & 0o777 == 0o700
        assert make_run_folder(long) == folder
    finally:
        folder.rmdir()


def test_they_are_short_where_the_temporary_folder_is_deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("t" * 90)))
    folder = make_run_folder(tmp_path / ("x" * 90))
    try:
        assert folder.parent == Path("/tmp")
    finally:
        folder.rmdir()


def test_a_link_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    data = tmp_path.resolve()
    if len(str(data / "run")) > 80:
        pytest.skip("the path of the temporary folder is too long for this")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FailedPreconditionError, match="remove it"):
        make_run_folder(tmp_path)
