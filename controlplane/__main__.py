"""`python -m controlplane`: the controller in the foreground."""

import os
import sys
from functools import partial

from controlplane.db.holding import hold_database
from controlplane.main import run_controller
from controlplane.malloc import limit_arenas
from controlplane.registry.files.locations import locate_database
from controlplane.settings import ControllerSettings
from modelyard.errors import YardError
from modelyard.files import hold_data_folder
from modelyard.program import run_program


def main() -> None:
    settings = ControllerSettings.load(sys.argv[1:])
    limit_arenas()
    os.umask(0o077)  # models and the database are nobody else's to read
    try:
        database_url = locate_database(settings.data, settings.database_url)
        with hold_data_folder(settings.data, "controller"), hold_database(database_url):
            run_program(settings, partial(run_controller, settings))
    except (YardError, OSError) as error:
        sys.exit(f"modelyard controller: {error}")


if __name__ == "__main__":
    main()
