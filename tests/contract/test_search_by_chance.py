"""Whatever is asked: SQL finds what plain Python finds, in the same order, whatever the size of the pages."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.domain import ModelFormat, Version
from controlplane.registry.filter_language import parse_filter
from controlplane.registry.sql import schema
from controlplane.registry.sql.database import Database
from controlplane.registry.sql.registry_store import SqlRegistryStore
from controlplane.registry.version_query import (
    COLUMNS,
    And,
    Comparison,
    Field,
    FieldKind,
    Filter,
    Not,
    Operator,
    Or,
    Order,
    ValueKind,
    VersionQuery,
)
from tests.harness.records import NOW, make_alias, make_author, make_draft
from tests.harness.version_filter import select_versions

MODELS = ("a", "B", "c-1")
ALIASES = ("production", "eu")
# Few and near each other, so that they meet: cases, wildcards of LIKE, signs of other scripts, long common beginnings.
TEXTS = (
    "",
    "x",
    "X",
    "xy",
    "%",
    "_",
    "é",
    "É",
    "z\U0001f600",
    "\\",
    "1",
    "1.0",
    "1e0",
    "2",
    "-0",
    "q" * 99,
    "q" * 100,
    "q" * 101,
)
NUMBERS = (0.0, -0.0, 1.0, 2.0, 0.1, -1e300, 1e-300, 5e-324)
# In every registry there is a version with each, for a key that none has is an error.
KEYS = ("k", "a key")
MOMENTS = tuple(NOW + timedelta(microseconds=microseconds) for microseconds in (0, 1, 999_322))

texts, numbers = st.sampled_from(TEXTS), st.sampled_from(NUMBERS)
drafts: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    model=st.sampled_from(MODELS),
    format=st.sampled_from(list(ModelFormat)),
    user=texts,
    description=texts,
    size_bytes=st.sampled_from([1, 2, 2**40]),
    metrics=st.dictionaries(st.sampled_from(KEYS), numbers),
    parameters=st.dictionaries(st.sampled_from(KEYS), texts),
    tags=st.dictionaries(st.sampled_from(KEYS), texts),
)
contents = st.lists(
    st.tuples(drafts, st.sampled_from(MOMENTS), st.booleans(), st.sets(st.sampled_from(ALIASES))), max_size=12
)
ORDERED = (Operator.EQUAL, Operator.NOT_EQUAL, Operator.LESS, Operator.AT_MOST, Operator.GREATER, Operator.AT_LEAST)
OF_TEXT = (Operator.EQUAL, Operator.NOT_EQUAL, Operator.CONTAINS)
VALUES: dict[ValueKind, st.SearchStrategy[Any]] = {
    ValueKind.TEXT: st.one_of(texts, st.sampled_from([*MODELS, *ALIASES, "onnx", "PROD"])),
    ValueKind.NUMBER: st.one_of(numbers, st.sampled_from([1.5, float(2**40)])),
    ValueKind.TIME: st.sampled_from([*MOMENTS, NOW - timedelta(days=1)]),
}


def compare(fields: st.SearchStrategy[Field], kind: ValueKind) -> st.SearchStrategy[Comparison]:
    operators = OF_TEXT if kind is ValueKind.TEXT else ORDERED
    return st.builds(Comparison, fields, st.sampled_from(operators), VALUES[kind])


def entries(*kinds: FieldKind) -> st.SearchStrategy[Field]:
    return st.builds(Field, st.sampled_from(kinds), st.sampled_from(KEYS))


def columns(*kinds: ValueKind) -> st.SearchStrategy[Field]:
    return st.sampled_from([Field(FieldKind.COLUMN, name) for name, kind in COLUMNS.items() if kind in kinds])


comparisons = st.one_of(
    *(compare(columns(kind), kind) for kind in ValueKind),
    compare(entries(FieldKind.METRIC, FieldKind.PARAMETER, FieldKind.TAG), ValueKind.NUMBER),
    compare(entries(FieldKind.PARAMETER, FieldKind.TAG), ValueKind.TEXT),
)
filters: st.SearchStrategy[Filter] = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)
orders = st.builds(
    Order,
    st.one_of(
        columns(*ValueKind).filter(lambda field: field.name != "alias"),
        entries(FieldKind.METRIC, FieldKind.PARAMETER, FieldKind.TAG),
    ),
    st.booleans(),
)
queries = st.builds(
    VersionQuery, st.sampled_from(["", "", "a"]), st.none() | filters, st.none() | orders, st.booleans()
)
questions = st.lists(st.tuples(queries, st.integers(1, 5)), min_size=1, max_size=8)

Content = Sequence[tuple[dict[str, Any], datetime, bool, set[str]]]


def check(database: Database, content: Content, asked: Sequence[tuple[VersionQuery, int]]) -> None:
    registry = SqlRegistryStore(database)
    everything: dict[str, str] = dict.fromkeys(KEYS, "x")
    with_all = {"metrics": dict.fromkeys(KEYS, 1.0), "parameters": everything, "tags": everything}
    versions, aliases = [registry.create_version(make_draft("a", "all", **with_all), NOW)], {}
    for index, (facts, now, is_deleted, names) in enumerate(content):
        draft = replace(make_draft(facts["model"], f"{index}"), **facts)
        made = registry.create_version(draft, now)
        if is_deleted:
            made = registry.delete_version(made.model, made.number, make_author())
        for name in names if not is_deleted else ():
            registry.set_alias(make_alias(made.number, made.model, name))
            aliases[made.model, name] = made.number
        versions.append(made)

    def names_of(version: Version) -> list[str]:
        return [name for (model, name), number in aliases.items() if (model, number) == (version.model, version.number)]

    for query, page_size in asked:
        found = read_all(registry, query, page_size)
        assert found == select_versions(query, versions, names_of), query


def read_all(registry: SqlRegistryStore, query: VersionQuery, page_size: int) -> list[Version]:
    found: list[Version] = []
    token = ""
    while True:
        page = registry.list_versions(query, page_size, token)
        found += page.items
        token = page.next_token
        if not token:
            return found
        assert len(page.items) == page_size


def empty(database: Database) -> None:
    with database.writing() as connection:
        for table in reversed(schema.metadata.sorted_tables):
            if table is not schema.yard:
                connection.execute(sa.delete(table))


# One database for all examples: to make one takes longer than to ask it.
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents, questions)
def test_sql_finds_what_python_finds(
    database: Database, content: Content, asked: list[tuple[VersionQuery, int]]
) -> None:
    empty(database)
    check(database, content, asked)


def test_the_largest_filters_of_the_language_can_be_asked(database: Database) -> None:
    deep = "name = a"
    for level in range(18):
        deep = f"({deep} {'and' if level % 2 else 'or'} name = a)"
    wide = " or ".join(["tags.k = y", "not metrics.k > 0.5"] * 49 + ["name = a"])
    registry = SqlRegistryStore(database)
    entries: dict[str, Any] = {"metrics": {"k": 1.0}, "tags": {"k": "x"}}
    made = registry.create_version(make_draft("a", "1", **entries), NOW)
    for filter_ in (deep, wide):
        assert registry.list_versions(VersionQuery(filter=parse_filter(filter_)), 1, "").items == [made]
