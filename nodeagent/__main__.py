"""`python -m nodeagent`: the node agent in the foreground."""

import sys
from functools import partial

from modelyard.errors import FailedPreconditionError
from modelyard.files import hold_data_folder
from modelyard.program import run_program
from nodeagent.data_folder import DataFolder
from nodeagent.inventory import take_inventory
from nodeagent.main import run_agent
from nodeagent.settings import AgentSettings


def main() -> None:
    settings = AgentSettings.load(sys.argv[1:])
    try:
        resources = take_inventory(settings)
        with hold_data_folder(settings.data, "agent"):
            run_program(settings, partial(run_agent, settings, DataFolder(settings.data), resources))
    except (FailedPreconditionError, ValueError, OSError) as error:
        sys.exit(f"modelyard agent: {error}")


if __name__ == "__main__":
    main()
