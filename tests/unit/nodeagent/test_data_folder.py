from pathlib import Path

from nodeagent.data_folder import DataFolder


def test_an_agent_is_the_same_after_its_restart(tmp_path: Path) -> None:
    made = DataFolder(tmp_path).instance_id()
    assert DataFolder(tmp_path).instance_id() == made
    (tmp_path / "other").mkdir()
    assert DataFolder(tmp_path / "other").instance_id() != made
