"""`python -m controlplane.db`, which `modelyard db` runs: check, backup, restore, upgrade."""

import os

from controlplane.db.commands import make_app


def main() -> None:
    os.umask(0o077)  # who did what and why is nobody else's to read
    make_app()(prog_name="modelyard db")


if __name__ == "__main__":
    main()
