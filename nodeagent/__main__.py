"""`python -m nodeagent`: the node agent in the foreground."""

import os
import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial

from modelyard.errors import FailedPreconditionError
from modelyard.files import hold_data_folder
from modelyard.logs import configure_logging
from modelyard.program import run_program
from nodeagent.data_folder import DataFolder
from nodeagent.devices.fault_record import FaultRecord
from nodeagent.devices.gpu_environment import forget_mps
from nodeagent.devices.gpu_host import find_gpus
from nodeagent.devices.gpu_shares import find_mps_reason
from nodeagent.inventory import take_inventory
from nodeagent.main import make_runtimes, run_agent
from nodeagent.runtimes.base import Runtime
from nodeagent.settings import AgentSettings


def main() -> None:
    settings = AgentSettings.load(sys.argv[1:])
    forget_mps(os.environ)  # limits that are not a replica's own
    configure_logging(settings.log_level, settings.log_format)  # what is offered, and why no more, is told at once
    try:
        runtimes = make_runtimes(settings)
        with hold_data_folder(settings.data, "agent"):
            _run(settings, DataFolder(settings.data), runtimes)
    except (FailedPreconditionError, ValueError, OSError) as error:
        sys.exit(f"modelyard agent: {error}")


def _run(settings: AgentSettings, folder: DataFolder, runtimes: Sequence[Runtime]) -> None:
    record = FaultRecord(folder.gpu_faults)
    with closing(find_gpus(settings.gpus, settings.ignored_xids, record)) as gpus:
        resources = take_inventory(settings, runtimes, gpus.selection, find_mps_reason())
        run_program(settings, partial(run_agent, settings, folder, resources, runtimes, gpus=gpus))
    record.forget()  # it was told to stop


if __name__ == "__main__":
    main()
