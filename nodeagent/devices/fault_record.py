"""What befell GPUs, kept for an agent that comes back after a crash: their driver tells of an event only once.

It holds until the host boots again. An agent that is stopped forgets it: whoever stops one to mend a GPU, and starts it
again, has said that the GPU is well.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from modelyard.files import write_whole
from nodeagent.devices.gpus import GpuEvent

log = logging.getLogger(__name__)

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class FaultRecord:
    """One JSON file: which boot of the host it is of, and the events. Blocking."""

    def __init__(self, path: Path, boot_id: Path = _BOOT_ID) -> None:
        self._path = path
        self._boot_id = boot_id

    def load(self) -> tuple[GpuEvent, ...]:
        """Those since the host booted; none where they cannot be read."""
        try:
            stored = json.loads(self._path.read_bytes())
            if stored["boot_id"] != self._boot_id.read_text().strip():
                return ()
            return tuple(GpuEvent(**event) for event in stored["events"])
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, LookupError, TypeError) as error:
            log.warning("what befell GPUs before this agent started cannot be read from %s: %s", self._path, error)
            return ()

    def store(self, events: Sequence[GpuEvent]) -> None:
        try:
            boot_id = self._boot_id.read_text().strip()
            content = {"boot_id": boot_id, "events": [asdict(event) for event in events]}
            write_whole(self._path, json.dumps(content).encode())
        except OSError as error:  # it is out of service all the same
            log.warning("an agent that starts after a crash would take its broken GPUs for sound: %s", error)

    def forget(self) -> None:
        """Raises OSError."""
        self._path.unlink(missing_ok=True)
