"""Who pointed what where, and when: nothing of it is ever lost."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.domain import Alias, ModelFormat, Signature, VersionDraft
from controlplane.registry.sql.database import Database
from controlplane.registry.sql.migrate import open_database
from controlplane.registry.sql.registry_store import SqlRegistryStore
from controlplane.registry.sql.schema import alias_moves
from modelyard.errors import NotFoundError

START = datetime(2026, 1, 1, tzinfo=UTC)
VERSIONS = 3
# (alias, the version to point it to; None: delete it)
moves = st.lists(st.tuples(st.sampled_from(["production", "staging"]), st.sampled_from([1, 2, 3, None])), max_size=12)
unused_numbers = count()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path_factory.mktemp('history')}/yard.db")
    yield database
    database.close()


def register(store: SqlRegistryStore, model: str) -> None:
    for number in range(1, VERSIONS + 1):
        facts = VersionDraft(model, ModelFormat.ONNX, "", str(number) * 64, 1, Signature((), ()))
        store.create_version(facts, START)


def read_history(database: Database, model: str) -> list[tuple[object, ...]]:
    columns = (alias_moves.c.alias, alias_moves.c.from_version, alias_moves.c.to_version, alias_moves.c.moved_at)
    query = sa.select(*columns).where(alias_moves.c.model == model).order_by(alias_moves.c.id)
    with database.reading() as connection:
        return [tuple(row) for row in connection.execute(query)]


@settings(deadline=None)
@given(wanted=moves)
def test_history_tells_every_move_and_leads_to_the_present(
    database: Database, wanted: list[tuple[str, int | None]]
) -> None:
    store, model = SqlRegistryStore(database), f"model-{next(unused_numbers)}"
    register(store, model)
    present: dict[str, int] = {}
    expected = []
    for step, (name, to) in enumerate(wanted):
        moment = START + timedelta(seconds=step)
        before = present.get(name)
        if to is not None:
            store.set_alias(Alias(model, name, to, moment, "ann", "why"))
            present[name] = to
        elif before is None:
            with pytest.raises(NotFoundError):
                store.delete_alias(model, name, "ann", "why", moment)
        else:
            store.delete_alias(model, name, "ann", "why", moment)
            del present[name]
        if before != to:
            expected.append((name, before, to, moment))
    assert read_history(database, model) == expected
    assert {alias.name: alias.version for alias in store.get_model(model).aliases} == present
