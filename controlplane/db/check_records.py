"""Whether the rows of a database are what a yard's must be, in one transaction that reads."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from controlplane.db.alias_invariants import ALIAS_INVARIANTS
from controlplane.db.deployment_invariants import DEPLOYMENT_INVARIANTS
from controlplane.db.invariant import RESTORE, Invariant
from controlplane.db.report import MOST_OF_A_KIND, Report
from controlplane.db.version_invariants import VERSION_INVARIANTS
from controlplane.registry.sql.schema import aliases, lineage_facts, models, version_values, versions
from controlplane.registry.sql.version_rows import version_from_row
from controlplane.registry.sql.version_values import list_values
from modelyard.resource_names import model_id

INVARIANTS = (*VERSION_INVARIANTS, *ALIAS_INVARIANTS, *DEPLOYMENT_INVARIANTS)
_VERSIONS_AT_ONCE = 500
_IS_DAMAGED = "take a copy of the file, then restore a backup: modelyard db restore FILE --replace"
_Values = dict[tuple[str, str], tuple[Any, ...]]


def check_sqlite(connection: sa.Connection, report: Report) -> None:
    """The file itself, and its references, which are checked at every write elsewhere."""
    if connection.dialect.name != "sqlite":
        return
    found = connection.exec_driver_sql(f"PRAGMA integrity_check({MOST_OF_A_KIND + 1})").scalars()
    report.add("integrity", (f"the database file is damaged ({line}): {_IS_DAMAGED}" for line in found if line != "ok"))
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check")
    report.add(
        "references",
        (f"row {row[1]} of {row[0]} refers to one of {row[2]} that is not there: {RESTORE}" for row in broken),
    )


def check_records(connection: sa.Connection, report: Report, tell: Callable[[str], None]) -> None:
    tell("checking the records")
    for invariant in INVARIANTS:
        report.add(invariant.name, _find(connection, invariant))
    report.add("search", _find_wrong_values(connection))
    for table in (models, versions, aliases, lineage_facts):
        report.counts[table.name] = connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def _find(connection: sa.Connection, invariant: Invariant) -> Iterator[str]:
    for row in connection.execute(invariant.query.limit(MOST_OF_A_KIND + 1)):
        yield invariant.describe(row)


def _find_wrong_values(connection: sa.Connection) -> Iterator[str]:
    """Versions that are searched by something else than they hold, or that cannot be read."""
    query = sa.select(versions).order_by(versions.c.model, versions.c.number)
    streaming = connection.execution_options(yield_per=_VERSIONS_AT_ONCE).execute(query)
    try:
        for batch in streaming.partitions():
            searched = _read_values(connection, batch)
            for row in batch:
                if (message := _describe_version(row, searched.get((row.model, row.number), {}))) is not None:
                    yield message
    except ValueError as error:  # of the driver, for a column that holds no JSON
        yield f"a version's record cannot be read ({error}): {RESTORE}"


def _read_values(connection: sa.Connection, batch: Sequence[sa.Row[Any]]) -> dict[tuple[str, int], _Values]:
    key = sa.tuple_(version_values.c.model, version_values.c.number)
    first, last = ((row.model, row.number) for row in (batch[0], batch[-1]))
    query = sa.select(version_values).where((key >= first) & (key <= last)).order_by(*key.clauses)
    groups = itertools.groupby(connection.execute(query), key=itemgetter(0, 1))
    return {version: {(row[2], row[3]): tuple(row[4:]) for row in rows} for version, rows in groups}


def _describe_version(row: sa.Row[Any], searched: _Values) -> str | None:
    name = model_id(row.model, row.number)
    try:
        facts = version_from_row(row).facts
    except (ValueError, KeyError, TypeError) as error:
        return f"the record of {name} cannot be read ({' '.join(str(error).split())}): {RESTORE}"
    held = {(value["kind"], value["key"]): tuple(value.values())[2:] for value in list_values(facts)}
    if held != searched:
        return f"{name} is searched by other metrics, parameters or tags than it has: {RESTORE}"
    if row.sample_sha256 != (facts.sample and facts.sample.sha256):
        return f"{name} names another file for its sample than its sample has: {RESTORE}"
    return None
