"""How each GPU is, as its driver's events and readings tell it."""

import logging
from collections.abc import Collection, Sequence

from nodeagent.devices.gpu_health import explain_event, find_event_fault, find_hit, find_reading_fault, find_warning
from nodeagent.devices.gpus import GpuCondition, GpuEvent, GpuFacts, GpuProcess, GpuReading
from nodeagent.devices.xids import Blame

log = logging.getLogger(__name__)

_UNREADABLE_AFTER = 3  # times in a row


class GpuStates:
    """Used by one thread; `conditions` may be read by any."""

    def __init__(self, gpus: Sequence[GpuFacts], ignored_xids: Collection[int] = ()) -> None:
        self._gpus = gpus
        self._ignored_xids = ignored_xids
        # What an event has said stays so: nothing that is read of a GPU says that it was mended.
        self._event_faults: dict[str, str] = {}
        # Those that made faults, of GPUs that are not offered as well: the next agent may offer them.
        self.events: tuple[GpuEvent, ...] = ()
        self._readings: dict[str, GpuReading] = {}
        # Why, for each time in a row that it could not be read.
        self._unreadable: dict[str, tuple[str, ...]] = {}
        self.conditions: tuple[GpuCondition, ...] = tuple(GpuCondition(gpu.uuid) for gpu in gpus)

    def note_event(self, event: GpuEvent) -> bool:
        """Whether a fault came or went."""
        fault = find_event_fault(event, self._ignored_xids)
        if fault and event not in self.events:
            self.events = (*self.events, event)
        for gpu in find_hit(event, self._gpus):
            if fault:
                self._event_faults.setdefault(gpu.uuid, fault)
            else:
                self._log_harmless(event, gpu)
        return self._follow_change()

    def note_reading(self, gpu: GpuFacts, reading: GpuReading) -> bool:
        """Whether a fault came or went."""
        before = find_warning(self._readings.get(gpu.uuid, GpuReading()))
        if (warning := find_warning(reading)) and not before:
            log.warning("GPU %s: %s", gpu.uuid, warning)
        log.debug("GPU %s: %s", gpu.uuid, reading)
        self._readings[gpu.uuid] = reading
        self._unreadable.pop(gpu.uuid, None)
        return self._follow_change()

    def note_unreadable(self, gpu: GpuFacts, reason: str) -> bool:
        """Whether a fault came or went."""
        self._unreadable[gpu.uuid] = (*self._unreadable.get(gpu.uuid, ()), reason)[-_UNREADABLE_AFTER:]
        return self._follow_change()

    def _follow_change(self) -> bool:
        before, self.conditions = self.conditions, tuple(self._compute_condition(gpu.uuid) for gpu in self._gpus)
        changed = [now for was, now in zip(before, self.conditions, strict=True) if was.fault != now.fault]
        for condition in changed:
            if condition.fault:
                log.error("GPU %s is out of service: %s", condition.uuid, condition.fault)
            else:
                log.info("GPU %s is in service again", condition.uuid)
        return bool(changed)

    def _compute_condition(self, uuid: str) -> GpuCondition:
        reading = self._readings.get(uuid, GpuReading())
        fault = self._event_faults.get(uuid) or self._why_unreadable(uuid) or find_reading_fault(reading)
        use, used_bytes = reading.utilization_percent or 0, reading.memory_used_bytes or 0
        return GpuCondition(uuid, fault, use, used_bytes, len(reading.processes))

    def _why_unreadable(self, uuid: str) -> str:
        """Once is no reason to move what computes there, unless nothing was ever read."""
        reasons = self._unreadable.get(uuid, ())
        is_so = len(reasons) == _UNREADABLE_AFTER or (reasons and uuid not in self._readings)
        return f"its state cannot be read: {reasons[-1]}" if is_so else ""

    def _log_harmless(self, event: GpuEvent, gpu: GpuFacts) -> None:
        xid = explain_event(event)
        whose = "a process's fault" if xid.blame is Blame.APPLICATION else "it stays in service"
        processes = self._readings.get(gpu.uuid, GpuReading()).processes
        on_it = ", ".join(map(_describe_process, processes)) or "none known"
        log.warning("GPU %s: XID %d: %s (%s); processes on it: %s", gpu.uuid, xid.number, xid.meaning, whose, on_it)


def _describe_process(process: GpuProcess) -> str:
    share = process.sm_percent
    return str(process.pid) if share is None else f"{process.pid} (its kernels ran {share} % of the time)"
