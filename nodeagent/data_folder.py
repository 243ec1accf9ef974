"""The agent's folder: what lies where in it, and who the agent is across restarts."""

import uuid
from pathlib import Path

from modelyard.files import write_whole


class DataFolder:
    def __init__(self, path: Path) -> None:
        self.path = path.resolve()

    @property
    def cache(self) -> Path:
        return self.path / "cache"

    @property
    def replicas(self) -> Path:
        return self.path / "replicas"

    @property
    def mps(self) -> Path:
        return self.path / "mps"

    @property
    def gpu_faults(self) -> Path:
        return self.path / "gpu-faults.json"

    def instance_id(self) -> str:
        """Made once for the folder: tells a restarted agent from another one that has the same name."""
        file = self.path / "instance-id"
        if not file.exists() or not file.read_text().strip():
            write_whole(file, uuid.uuid4().hex.encode())
        return file.read_text().strip()
