"""Asks the GPUs' driver how they are, on a thread of its own: a call that never returns holds up nobody."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import replace

from nodeagent.devices.fault_record import FaultRecord
from nodeagent.devices.gpu_selection import Selection
from nodeagent.devices.gpu_states import GpuStates
from nodeagent.devices.gpus import GpuCondition, GpuEvent, GpuFacts, GpuLibrary, GpuLibraryError, GpuList

log = logging.getLogger(__name__)

# A driver that is not kept loaded (nvidia-persistenced) needs seconds for each GPU of a large host. Who starts an agent
# by `modelyard up` waits a minute for it.
_START_TIMEOUT_S = 45.0
_STOP_TIMEOUT_S = 3.0
_READING_INTERVAL_S = 2.0
_EVENT_WAIT_S = 0.5
_LONGEST_SILENCE_S = 30.0
_SILENT = (
    "its driver has not answered for more than 30 s, so that nobody knows how it is; look into the kernel's log, and "
    "reboot the host if it stays so"
)


class GpuWatch:
    """`choose` tells which of the host's GPUs are watched; it may raise ValueError. `record` outlives the agent."""

    def __init__(
        self,
        open_library: Callable[[], GpuLibrary],
        choose: Callable[[GpuList], Selection],
        ignored_xids: Collection[int] = (),
        record: FaultRecord | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Called by the watch's own thread when a GPU came out of service, or went into it again.
        self.on_change: Callable[[], object] = lambda: None
        self._open, self._choose, self._ignored_xids, self._clock = open_library, choose, ignored_xids, clock
        self._record = record
        self._gpus: Sequence[GpuFacts] = ()
        self._states = GpuStates((), ignored_xids)
        self._is_watching = False  # told of events
        self._trouble = ""  # with them, as it was logged last
        self._answered_at = clock()
        self._is_silent = False
        self._found: Future[Selection] = Future()
        self._stopping = threading.Event()
        # The end of the agent does not wait for a thread that hangs in the driver.
        self._thread = threading.Thread(target=self._run, name="gpus", daemon=True)

    def start(self, timeout_s: float = _START_TIMEOUT_S) -> Selection:
        """The GPUs that are watched from now on, each of which has been read once.

        Raises GpuLibraryError where the driver cannot be asked, and what `choose` raises.
        """
        self._thread.start()
        try:
            return self._found.result(timeout_s)
        except TimeoutError:
            self._stopping.set()
            raise GpuLibraryError(
                f"NVIDIA's driver does not answer within {timeout_s:.0f} s; look into the kernel's log"
            ) from None
        except Exception:
            self._thread.join(_STOP_TIMEOUT_S)  # what it opened is closed when this is known
            raise

    def conditions(self) -> tuple[GpuCondition, ...]:
        """As they were read last; a driver that is silent is a fault of all of them, for as long as it is."""
        conditions = self._states.conditions
        is_silent = bool(conditions) and self._clock() - self._answered_at > _LONGEST_SILENCE_S
        if is_silent is not self._is_silent:
            self._is_silent = is_silent
            log.warning("NVIDIA's driver %s", "has not answered for 30 s" if is_silent else "answers again")
        if not is_silent:
            return conditions
        return tuple(replace(condition, fault=condition.fault or _SILENT) for condition in conditions)

    def stop(self) -> None:
        """Gives the library back; a thread that hangs in the driver is left behind."""
        self._stopping.set()
        self._thread.join(_STOP_TIMEOUT_S)
        if self._thread.is_alive():
            log.warning("NVIDIA's driver does not answer; it is left as it is")

    def _run(self) -> None:
        try:
            library = self._open()
        except Exception as error:
            self._found.set_exception(error)
            return
        try:
            self._begin(library)
        except Exception as error:
            self._found.set_exception(error)
        else:
            self._watch(library)
        finally:
            library.close()

    def _begin(self, library: GpuLibrary) -> None:
        selection = self._choose(library.list_gpus())
        self._gpus = selection.gpus
        self._states = GpuStates(self._gpus, self._ignored_xids)
        for event in self._record.load() if self._record else ():
            self._states.note_event(event)
        if self._gpus:
            self._is_watching = self._watch_events(library)
            self._read_all(library)
        else:
            self._stopping.set()
        self._found.set_result(selection)

    def _watch(self, library: GpuLibrary) -> None:
        due = self._clock() + _READING_INTERVAL_S
        while not self._stopping.is_set():
            try:
                self._take_event(library)
                if self._clock() >= due:
                    self._is_watching = self._is_watching or self._watch_events(library)
                    self._read_all(library)
                    due = self._clock() + _READING_INTERVAL_S
            except Exception:
                log.exception("defect of the agent: a GPU's state could not be followed")
                self._stopping.wait(_READING_INTERVAL_S)

    def _watch_events(self, library: GpuLibrary) -> bool:
        try:
            return library.watch_events(self._gpus)
        except GpuLibraryError as error:
            log.debug("GPUs tell no events: %s", error)
            return False

    def _take_event(self, library: GpuLibrary) -> None:
        if not self._is_watching:
            self._stopping.wait(_EVENT_WAIT_S)
            return
        try:
            event = library.wait_event(_EVENT_WAIT_S)
        except GpuLibraryError as error:
            # With a GPU that is lost each wait ends at once: the others are watched by a new set.
            if str(error) != self._trouble:
                self._trouble = str(error)
                log.warning("waiting for events of GPUs: %s", error)
            self._is_watching = False
            return
        self._answered_at = self._clock()
        if event is not None:
            self._note_event(event)

    def _note_event(self, event: GpuEvent) -> None:
        known = self._states.events
        if self._states.note_event(event):
            self.on_change()
        if self._record and self._states.events != known:
            self._record.store(self._states.events)

    def _read_all(self, library: GpuLibrary) -> None:
        changes = [self._read(library, gpu) for gpu in self._gpus]
        self._answered_at = self._clock()
        if any(changes):
            self.on_change()

    def _read(self, library: GpuLibrary, gpu: GpuFacts) -> bool:
        try:
            return self._states.note_reading(gpu, library.read(gpu))
        except GpuLibraryError as error:
            return self._states.note_unreadable(gpu, str(error))
