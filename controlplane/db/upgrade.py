"""Brings the schema of a database up to this program's, while no controller runs."""

from pathlib import Path

from controlplane.db.existing import open_existing, require_revision
from controlplane.db.holding import hold_database
from controlplane.registry.sql.migrate import list_revisions, open_database
from modelyard.files import hold_data_folder


def upgrade(data: Path, url: str) -> tuple[str, str]:
    """The revision before and after. FailedPreconditionError while a controller runs, and for a newer database."""
    with open_existing(url) as database, database.reading() as connection:
        before = require_revision(connection)
    with hold_data_folder(data, "controller"), hold_database(url):
        open_database(url).close()
    return before, list_revisions()[-1]
