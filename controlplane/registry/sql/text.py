"""Text that SQLite and PostgreSQL treat alike, whatever locale the database was made in."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction


class _ByBytes(GenericFunction[str]):
    name = "by_bytes"
    type = sa.Text()
    inherit_cache = True


@compiles(_ByBytes)
def _as_it_is(element: _ByBytes, compiler: SQLCompiler, **options: Any) -> str:
    # SQLite's own collation.
    return compiler.process(element.clauses, **options)


@compiles(_ByBytes, "postgresql")
def _collated(element: _ByBytes, compiler: SQLCompiler, **options: Any) -> str:
    return f'({compiler.process(element.clauses, **options)} COLLATE "C")'


def by_bytes(column: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """The text, ordered by its bytes in UTF-8; letters A to Z alone have a case."""
    return _ByBytes(column)


def contains(column: sa.ColumnElement[Any], wanted: str) -> sa.ColumnElement[bool]:
    """Without regard to the case of A to Z."""
    folded = wanted.encode().lower().decode()  # lower() of bytes knows A to Z only, like lower() of both databases here
    return sa.func.lower(by_bytes(column)).contains(folded, autoescape=True)
