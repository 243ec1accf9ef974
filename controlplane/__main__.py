"""`python -m controlplane`: the controller in the foreground."""

import os
import sys
from functools import partial

from controlplane.main import run_controller
from controlplane.settings import ControllerSettings
from modelyard.errors import YardError
from modelyard.files import hold_data_folder
from modelyard.program import run_program


def main() -> None:
    settings = ControllerSettings.load(sys.argv[1:])
    os.umask(0o077)  # models and the database are nobody else's to read
    try:
        with hold_data_folder(settings.data, "controller"):
            run_program(settings, partial(run_controller, settings))
    except (YardError, OSError) as error:
        sys.exit(f"modelyard controller: {error}")


if __name__ == "__main__":
    main()
