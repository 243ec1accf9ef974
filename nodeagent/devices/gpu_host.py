"""The GPUs of this host, from the settings to what is told of them."""

import logging
import os
from collections.abc import Callable, Iterable
from functools import partial

from nodeagent.devices.fault_record import FaultRecord
from nodeagent.devices.gpu_selection import ALL, NONE, Selection, choose_gpus
from nodeagent.devices.gpu_watch import GpuWatch
from nodeagent.devices.gpus import GpuCondition, GpuLibrary, GpuLibraryError
from nodeagent.devices.nvml import open_nvml

log = logging.getLogger(__name__)


class GpuHost:
    """`watch`: None where no GPU is offered, for the reason that the selection's message tells."""

    def __init__(self, selection: Selection, watch: GpuWatch | None = None) -> None:
        self.selection = selection
        self._watch = watch

    def conditions(self) -> tuple[GpuCondition, ...]:
        """How each that is offered was a few seconds ago."""
        return self._watch.conditions() if self._watch else ()

    def call_on_change(self, callback: Callable[[], object]) -> None:
        """From now on, when one came out of service or went into it again; from a thread of its own."""
        if self._watch:
            self._watch.on_change = callback

    def close(self) -> None:
        if self._watch:
            self._watch.stop()


def find_gpus(
    wanted: str,
    ignored_xids: Iterable[int] = (),
    record: FaultRecord | None = None,
    open_library: Callable[[], GpuLibrary] = open_nvml,
) -> GpuHost:
    """Those that `wanted` leaves, the setting --gpus; they are watched until the host is closed.

    A host without a driver has none. Raises ValueError where GPUs are named and one of them cannot be had.
    """
    if wanted == NONE:
        return GpuHost(Selection(message="its agent was started with --gpus none"))
    choose = partial(choose_gpus, wanted=wanted, visible=os.environ.get("CUDA_VISIBLE_DEVICES"))
    watch = GpuWatch(open_library, choose, frozenset(ignored_xids), record)
    try:
        selection = watch.start()
    except GpuLibraryError as error:
        if wanted != ALL:
            raise ValueError(f"--gpus names {wanted}, and no GPU can be used: {error}") from error
        log.log(logging.INFO if error.is_absent else logging.WARNING, "no GPU is offered: %s", error)
        return GpuHost(Selection(message=str(error)))
    _log_selection(selection)
    return GpuHost(selection, watch)


def _log_selection(selection: Selection) -> None:
    if selection.message:
        log.warning("not all GPUs are offered: %s", selection.message)
    for gpu in selection.gpus:
        log.info("offering GPU %s (%s, %s)", gpu.index, gpu.uuid, gpu.hardware_class)
