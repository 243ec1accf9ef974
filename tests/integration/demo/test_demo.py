"""What `scripts/run --once` does after its set-up: a real model, real files, a table, and nothing left."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.programs import find_users

# Half a minute for each run of the demo while other tests run, and more on a slower machine.
pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).resolve().parents[3]


def run_demo(data: Path, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "MODELYARD_DATA": str(data), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "scripts.demo", "--once", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=280,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of several kinds, without names that would give them away."""
    made = tmp_path / "files"
    (made / "sub").mkdir(parents=True)
    (made / "a").write_text('def main() -> None:\n    print("hello")\n\n\nif __name__ == "__main__":\n    main()\n')
    (made / "b").write_bytes((ROOT / ".cache/models/magika-standard-v3-3/model.onnx").read_bytes())
    (made / "c").write_text('{"name": "x", "values": [1, 2, 3], "nested": {"a": null, "b": true}}\n')
    (made / "empty").touch()
    return made


def test_files_are_told_by_what_they_hold(folder: Path, tmp_path: Path) -> None:
    done = run_demo(tmp_path / "data", folder, "a", "b", "c", "empty", "sub", "missing")
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.strip()}
    assert {name: rows[name][0] for name in ("a", "b", "c", "empty", "sub")} == {
        "a": "python",
        "b": "onnx",
        "c": "json",
        "empty": "empty",
        "sub": "directory",
    }, done.stderr
    assert " ".join(rows["missing"]).startswith("cannot be read: No such file")
    assert done.returncode == 1  # one file could not be read
    assert not find_users(tmp_path)


@pytest.mark.slow
def test_without_files_it_takes_the_repository_s_own_and_starts_again_on_its_data(tmp_path: Path) -> None:
    for _ in range(2):
        done = run_demo(tmp_path / "data", tmp_path)
        assert done.returncode == 0, done.stderr
        assert "pyproject.toml" in done.stdout and " toml " in done.stdout
