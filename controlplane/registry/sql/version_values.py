"""The rows that versions are searched by, kept level with what the versions hold."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from controlplane.domain import VersionDraft
from controlplane.registry.sql.schema import version_values
from controlplane.registry.version_query import parse_number

# Of a text, in the column that is indexed.
PREFIX_CHARACTERS = 100


def replace_values(connection: sa.Connection, facts: VersionDraft, number: int) -> None:
    """Makes the rows of version `number` those of `facts`."""
    of_version = (version_values.c.model == facts.model) & (version_values.c.number == number)
    connection.execute(sa.delete(version_values).where(of_version))
    insert_values(connection, facts, number)


def insert_values(connection: sa.Connection, facts: VersionDraft, number: int) -> None:
    """Of a version that has no rows yet."""
    if rows := [{"model": facts.model, "number": number, **value} for value in list_values(facts)]:
        connection.execute(sa.insert(version_values), rows)


def list_values(facts: VersionDraft) -> Iterator[dict[str, Any]]:
    """The columns of each row, save for its version's model and number."""
    for key, number in facts.metrics.items():
        yield {"kind": "metric", "key": key, "text_value": None, "text_prefix": None, "number_value": number}
    for kind, entries in (("parameter", facts.parameters), ("tag", facts.tags)):
        for key, text in entries.items():
            searched = {"text_value": text, "text_prefix": text[:PREFIX_CHARACTERS], "number_value": parse_number(text)}
            yield {"kind": kind, "key": key, **searched}
