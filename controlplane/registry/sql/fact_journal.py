"""What happened to versions, in the order in which it did: written in the transaction in which it does.

Writers come one after another (database.py), so a number is never given to a fact that is seen before an earlier one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from controlplane.domain import Author, Deployment, Fact, FactKind
from controlplane.registry.page_bytes import count_bytes, cut_page
from controlplane.registry.sql.schema import lineage_facts
from controlplane.registry.sql.streaming import stream
from controlplane.registry.sql.version_rows import fact_from_row

_NO_DETAILS: Mapping[str, Any] = {}


def add_fact(
    connection: sa.Connection,
    kind: FactKind,
    of: tuple[str, int],
    author: Author,
    *,
    alias: str = "",
    details: Mapping[str, Any] = _NO_DETAILS,
) -> None:
    """`of`: model and version."""
    model, version = of
    values = {
        "kind": kind.value,
        "model": model,
        "version": version,
        "alias": alias,
        "details": dict(details),
        "user_name": author.user,
        "reason": author.reason,
        "happened_at": author.at,
        "recorded": False,
    }
    connection.execute(sa.insert(lineage_facts).values(values))


def add_deployed(connection: sa.Connection, deployment: Deployment, version: int, author: Author) -> None:
    chosen = {
        "gpu_percent": deployment.gpu_percent,
        "gpu_memory_bytes": deployment.gpu_memory_bytes,
        **asdict(deployment.serving),
    }
    details = {
        "replicas": deployment.replicas,
        "threads": deployment.threads,
        **{key: value for key, value in chosen.items() if value},  # most deployments choose none of it
    }
    add_fact(
        connection, FactKind.DEPLOYED, (deployment.model, version), author, alias=deployment.alias, details=details
    )


def read_facts(connection: sa.Connection, recorded: bool, after: int, limit: int, newest_first: bool) -> Sequence[Fact]:
    number = lineage_facts.c.number
    query = sa.select(lineage_facts).where(lineage_facts.c.recorded == recorded).limit(limit)
    if not newest_first:
        query = query.where(number > after).order_by(number)
    elif after:
        query = query.where(number < after).order_by(number.desc())
    else:
        query = query.order_by(number.desc())
    with stream(connection, query) as rows:
        return cut_page(map(fact_from_row, rows), limit, count_bytes)[0]


def count_unrecorded(connection: sa.Connection, model: str, version: int) -> int:
    of_version = (lineage_facts.c.model == model) & (lineage_facts.c.version == version)
    query = sa.select(sa.func.count()).where(of_version & ~lineage_facts.c.recorded)
    count: int = connection.execute(query).scalar_one()
    return count


def mark_recorded(connection: sa.Connection, numbers: Sequence[int], recorded: bool) -> None:
    marked = sa.update(lineage_facts).where(lineage_facts.c.number == sa.bindparam("fact")).values(recorded=recorded)
    if numbers:
        connection.execute(marked, [{"fact": number} for number in numbers])
