"""Looks a whole yard over, and changes nothing: database, files, lineage. A controller may run meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from controlplane.db.check_files import FileCheck
from controlplane.db.check_lineage import check_lineage
from controlplane.db.check_records import check_records, check_sqlite
from controlplane.db.existing import open_existing, require_revision
from controlplane.db.report import Problem, Report
from controlplane.registry.files.artifact_backends import open_backend
from controlplane.registry.lineage import LineageConfig
from controlplane.registry.sql.database import Database
from controlplane.registry.sql.migrate import list_revisions
from controlplane.registry.sql.schema import lineage_facts


@dataclass(frozen=True)
class Places:
    """Where a yard keeps what it keeps."""

    database_url: str
    artifacts_url: str
    lineage: LineageConfig


def check(places: Places, *, read_files: bool, ask_lineage: bool, tell: Callable[[str], None]) -> Report:
    """`read_files`: all bytes, `ask_lineage`: for each fact.

    Raises YardError where the database, the artifact store or the lineage store cannot be looked at.
    """
    report = Report()
    with open_existing(places.database_url) as database:
        if _check_database(database, report, tell):
            FileCheck(database, open_backend(places.artifacts_url), read_files, tell).run(report)
            if ask_lineage:
                check_lineage(database, places.lineage, report, tell)
    return report


def _check_database(database: Database, report: Report, tell: Callable[[str], None]) -> bool:
    """Whether its records can be trusted as far as to look for their files."""
    with database.reading() as connection:
        report.schema = require_revision(connection)
        if report.schema != list_revisions()[-1]:
            report.add("schema", [_describe_schema(report.schema)])
            return False
        check_sqlite(connection, report)
        try:
            check_records(connection, report, tell)
            _count_unrecorded(connection, report)
        except sa.exc.DatabaseError as error:
            if not report.problems:
                raise
            # What is damaged, as was found just now, cannot be read to its end.
            report.problems.append(Problem("integrity", f"not everything could be checked: {database.explain(error)}"))
            return False
    return True


def _describe_schema(schema: str) -> str:
    return (
        f"the schema is {schema}, and this program's is {list_revisions()[-1]}: stop the controller, back up, and run "
        "modelyard db upgrade"
    )


def _count_unrecorded(connection: sa.Connection, report: Report) -> None:
    query = sa.select(sa.func.count()).where(~lineage_facts.c.recorded)
    report.counts["unrecorded_facts"] = unrecorded = connection.scalar(query) or 0
    if unrecorded:
        report.notes.append(f"{unrecorded} facts are not in the lineage store yet: a controller that runs records them")
