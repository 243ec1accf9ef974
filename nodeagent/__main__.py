"""`python -m nodeagent`: the node agent in the foreground."""

import sys
from functools import partial

from modelyard.errors import FailedPreconditionError
from modelyard.files import hold_data_folder
from modelyard.program import run_program
from nodeagent.data_folder import DataFolder
from nodeagent.inventory import take_inventory
from nodeagent.main import make_runtimes, run_agent
from nodeagent.settings import AgentSettings


def main() -> None:
    settings = AgentSettings.load(sys.argv[1:])
    try:
        runtimes = make_runtimes(settings)
        resources = take_inventory(settings, runtimes)
        with hold_data_folder(settings.data, "agent"):
            run_program(settings, partial(run_agent, settings, DataFolder(settings.data), resources, runtimes))
    except (FailedPreconditionError, ValueError, OSError) as error:
        sys.exit(f"modelyard agent: {error}")


if __name__ == "__main__":
    main()
