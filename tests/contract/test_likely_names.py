"""Of very many names the database picks the few that a mistyped one is compared with."""

import pytest
import sqlalchemy as sa

from controlplane.registry.filter_language import parse_filter
from controlplane.registry.near_names import MOST_CANDIDATES
from controlplane.registry.sql.database import Database
from controlplane.registry.sql.likely_names import select_likely
from controlplane.registry.sql.registry_store import SqlRegistryStore
from controlplane.registry.sql.schema import models, version_values
from controlplane.registry.version_query import VersionQuery
from modelyard.errors import InvalidArgumentError, NotFoundError
from tests.harness.records import NOW, make_draft

COUNT = 3 * MOST_CANDIDATES


@pytest.fixture
def many(database: Database) -> Database:
    """The models a-model-0 and so on, and resnet-50; and as many tags."""
    registry = SqlRegistryStore(database)
    registry.create_version(make_draft("resnet-50", tags={"training-team": "vision"}), NOW)
    with database.writing() as connection:
        rows = [{"name": f"a-model-{number}", "latest_version": 0, "created_at": NOW} for number in range(COUNT)]
        connection.execute(sa.insert(models), rows)
        value = {"model": "resnet-50", "number": 1, "kind": "tag", "text_value": "", "text_prefix": ""}
        connection.execute(sa.insert(version_values), [{**value, "key": f"tag-{number}"} for number in range(COUNT)])
    return database


@pytest.mark.parametrize(
    "wanted",
    [
        "resnet-5",
        "resnet-500",
        "resnett-50",
        "esnet-50",
        "RESNET-50",
        "resent-50",
        "rexnet-50",
        "resnet50",
        "50-resnet",
    ],
)
def test_what_somebody_may_have_meant_is_among_the_few(many: Database, wanted: str) -> None:
    with many.reading() as connection:
        likely = connection.scalars(select_likely(sa.select(models.c.name), wanted)).all()
    assert len(likely) == MOST_CANDIDATES + 1
    assert likely[0] == "resnet-50"


@pytest.mark.parametrize("wanted", ["", "x", "ab", "%", "_", "\\", "é" * 5, "x" * 1000])
def test_any_text_can_be_asked_for(many: Database, wanted: str) -> None:
    with many.reading() as connection:
        likely = connection.scalars(select_likely(sa.select(models.c.name), wanted)).all()
    assert len(set(likely)) == MOST_CANDIDATES + 1


def test_a_mistyped_model_is_told_which_one_is_near(many: Database) -> None:
    registry = SqlRegistryStore(many)
    with pytest.raises(NotFoundError, match=r"no model 'resnet-5'; did you mean resnet-50\?"):
        registry.get_model("resnet-5")
    with pytest.raises(NotFoundError, match=r"there are .* and many more"):
        registry.get_model("zzz")


def test_a_mistyped_tag_is_told_which_one_is_near(many: Database) -> None:
    query = VersionQuery("", parse_filter('tags.trainingteam = "vision"'), None, False)
    with pytest.raises(InvalidArgumentError, match="did you mean training-team"):
        SqlRegistryStore(many).list_versions(query, 10, "")
