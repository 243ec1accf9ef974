"""GPUs for tests, and a driver that the test plays."""

import threading
from collections.abc import Sequence

from nodeagent.devices.gpus import GpuEvent, GpuFacts, GpuLibraryError, GpuList, GpuReading

GPU = GpuFacts("GPU-aa11", "0", "NVIDIA A100-SXM4-40GB", 40 << 30, "8.0", "00000000:3B:00.0")
OTHER = GpuFacts("GPU-aa22", "1", "NVIDIA A100-SXM4-40GB", 40 << 30, "8.0", "00000000:3C:00.0")
BIG_MIG = GpuFacts("MIG-bb11", "2:0", "NVIDIA A100-SXM4-40GB MIG 3g.20gb", 20 << 30, "8.0", "", "GPU-aa33", 1, 0)
SMALL_MIG = GpuFacts("MIG-bb22", "2:1", "NVIDIA A100-SXM4-40GB MIG 1g.5gb", 5 << 30, "8.0", "", "GPU-aa33", 2, 0)


class PlayedLibrary:
    """Its `events` are told one by one, exceptions are raised. `answers`: calls return when it is set.

    `hangs` is set once one of them waits for that; `wait_count`: how often an event was waited for.
    """

    def __init__(self, *gpus: GpuFacts, left_out: tuple[str, ...] = ()) -> None:
        self.found = GpuList(gpus, left_out, "550.54.14")
        self.readings: dict[str, GpuReading | GpuLibraryError] = {}
        self.events: list[GpuEvent | GpuLibraryError] = []
        self.read_count = 0
        self.watched: list[tuple[str, ...]] = []
        self.closed = threading.Event()
        self.answers = threading.Event()
        self.answers.set()
        self.hangs = threading.Event()
        self.wait_count = 0
        self.tells_events = True

    def list_gpus(self) -> GpuList:
        self._answer()
        return self.found

    def read(self, gpu: GpuFacts) -> GpuReading:
        self._answer()
        self.read_count += 1
        reading = self.readings.get(gpu.uuid, GpuReading())
        if isinstance(reading, GpuLibraryError):
            raise reading
        return reading

    def watch_events(self, gpus: Sequence[GpuFacts]) -> bool:
        self.watched.append(tuple(gpu.uuid for gpu in gpus))
        return self.tells_events

    def wait_event(self, timeout_s: float) -> GpuEvent | None:
        self.wait_count += 1
        self._answer()
        if not self.events:
            threading.Event().wait(0.005)
            return None
        event = self.events.pop(0)
        if isinstance(event, GpuLibraryError):
            raise event
        return event

    def close(self) -> None:
        self.closed.set()

    def _answer(self) -> None:
        if not self.answers.is_set():
            self.hangs.set()
        self.answers.wait()
