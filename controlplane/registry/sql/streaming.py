"""Rows one after another, for a reader that may not need them all."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

# So many are fetched at once, once the first few were wanted: each may hold a megabyte.
_MOST_AT_ONCE = 20


@contextmanager
def stream(connection: sa.Connection, query: sa.Select[Any]) -> Iterator[sa.CursorResult[Any]]:
    """Without this the driver of PostgreSQL fetches all rows before it gives the first. Nothing outlives the block."""
    options = {"stream_results": True, "max_row_buffer": _MOST_AT_ONCE}
    rows = connection.execute(query, execution_options=options)
    try:
        yield rows
    finally:
        rows.close()
