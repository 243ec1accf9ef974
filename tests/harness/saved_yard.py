"""Backups of yards, and what a yard is after a restore."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from controlplane.db.backup import Backup, back_up
from controlplane.db.check_records import check_records, check_sqlite
from controlplane.db.report import Report
from controlplane.db.restore import Restored, restore
from controlplane.registry.sql.database import Database
from controlplane.registry.sql.migrate import open_database
from tests.harness.full_yard import Rows
from tests.harness.records import NOW


@dataclass(frozen=True)
class SavedYard:
    """A backup of `rows`."""

    backup: Path
    rows: Rows


def tell_nobody(text: str) -> None:
    pass


def make_backup(url: str, path: Path) -> Backup:
    return back_up(url, path, NOW, tell_nobody)


def restore_into(url: str, backup: Path, data: Path, *, lineage_url: str = "", replace: bool = False) -> Restored:
    return restore(backup, data, url, lineage_url=lineage_url, replace=replace, now=NOW, tell=tell_nobody)


@contextmanager
def opened(url: str) -> Iterator[Database]:
    database = open_database(url)
    try:
        yield database
    finally:
        database.close()


def find_problems(url: str) -> list[str]:
    report = Report()
    with opened(url) as database, database.reading() as connection:
        check_sqlite(connection, report)
        check_records(connection, report, tell_nobody)
    return [problem.message for problem in report.problems]
