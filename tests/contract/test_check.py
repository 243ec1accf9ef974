"""`db check` finds what is wrong with a yard, whatever it is, and finds nothing wrong with one that is well."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from controlplane.db.check import Places, check
from controlplane.db.report import MOST_OF_A_KIND, Report
from controlplane.db.schema_tables import read_tables
from controlplane.registry.lineage import lineage_config
from controlplane.registry.lineage.local import LocalLineage
from controlplane.registry.sql.migrate import list_revisions
from controlplane.registry.sql.registry_store import SqlRegistryStore
from modelyard.errors import FailedPreconditionError, UnavailableError
from tests.contract.conftest import make_url
from tests.harness.full_yard import CONTENTS, SAMPLE, file_of, fill_yard, keep_files, read_rows
from tests.harness.old_databases import make_old_database
from tests.harness.saved_yard import opened, tell_nobody


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a full yard, which tests leave as it is."""
    with make_url(request.param, request, tmp_path_factory.mktemp("yard")) as made:
        fill_yard(made)
        yield made


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    keep_files(tmp_path)
    return tmp_path


def look(url: str, artifacts: Path, *, read_files: bool = False, ask_lineage: bool = False) -> Report:
    places = Places(url, str(artifacts), lineage_config("", "", artifacts))
    return check(places, read_files=read_files, ask_lineage=ask_lineage, tell=tell_nobody)


def problems_of(report: Report) -> list[str]:
    return [f"{problem.check}: {problem.message}" for problem in report.problems]


def test_a_yard_that_is_well_is_well(url: str, artifacts: Path) -> None:
    before = read_rows(url)
    report = look(url, artifacts, read_files=True)
    assert problems_of(report) == [] and read_rows(url) == before
    counted = {"models": 2, "versions": 5, "aliases": 1, "files": 5, "files_read": 5, "unneeded_files": 0}
    assert counted.items() <= report.counts.items()
    assert report.counts["bytes_read"] == sum(map(len, (*CONTENTS, SAMPLE)))
    facts = report.counts["lineage_facts"]
    assert report.notes == [f"{facts - 5} facts are not in the lineage store yet: a controller that runs records them"]


TABLES = read_tables(list_revisions()[-1])
# A statement, and the problem that it makes.
DAMAGES = {
    "DELETE FROM yard": "yard: the table yard has 0 rows",
    "UPDATE models SET latest_version = 9 WHERE name = 'bert'": "versions: 'bert' has given away 9 numbers, and has 1",
    "DELETE FROM versions WHERE model = 'bert'": "versions: 'bert' has given away 1 numbers, and has 0",
    "UPDATE versions SET number = 7 WHERE number = 3": "versions: 'resnet' has given away 4 numbers, .* up to 7",
    "UPDATE versions SET deleted_at = NULL WHERE number = 4": "versions: resnet@4 is purged and yet not deleted",
    "UPDATE aliases SET version = 3": "aliases: resnet@production points to version 3, which is deleted.*alias set",
    "UPDATE aliases SET version = 9": "aliases: resnet@production points to version 9, which is not there",
    "UPDATE aliases SET version = 2": "history: resnet@production points to 2, and by its last move it points to 1",
    "DELETE FROM aliases": "history: resnet@production is not there, and by its last move it points to 1",
    "DELETE FROM alias_moves": "history: resnet@production points to 1, and by its last move it is not there",
    "DELETE FROM alias_moves WHERE id = 1": "history: .* is broken: at move 2 it points to 1, and .* it is not there",
    "DELETE FROM alias_moves WHERE id = 2": "history: .* is broken: at move 3 it points to 2, and .* it points to 1",
    "UPDATE alias_moves SET to_version = 8, from_version = NULL WHERE id = 1": "history: move 1 .* does not lead",
    "UPDATE alias_moves SET kind = 'set' WHERE kind = 'remove'": r"history: move 5 .* \(nowhere\)",
    "DELETE FROM version_changes": "changes: resnet@1 was changed 1 times, and 0 changes are kept",
    "UPDATE versions SET revision = 2 WHERE number = 2": "changes: resnet@2 was changed 2 times, and 0",
    "DELETE FROM lineage_facts WHERE kind = 'registered' AND version = 2": "journal: .* happened to resnet@2",
    "DELETE FROM lineage_facts WHERE kind = 'changed'": "journal: .* happened to resnet@1",
    "DELETE FROM lineage_facts WHERE kind = 'restored'": "journal: .* happened to resnet@2",
    "DELETE FROM lineage_facts WHERE kind = 'purged'": "journal: .* happened to resnet@4",
    "UPDATE versions SET deleted_at = NULL WHERE number = 3": "journal: .* happened to resnet@3",
    "DELETE FROM lineage_facts WHERE kind = 'aliased' AND alias = 'gone'": "journal: resnet@gone was moved 2 times",
    "DELETE FROM version_values WHERE number = 2 AND kind = 'tag'": "search: resnet@2 is searched by other",
    "UPDATE version_values SET number_value = 7 WHERE number = 2 AND key = 'top1'": "search: resnet@2 is searched",
    "UPDATE version_values SET text_prefix = 'x' WHERE number = 2 AND key = 'lr'": "search: resnet@2 is searched",
    """UPDATE versions SET tags = '{"a": "b"}' WHERE model = 'bert'""": "search: bert@1 is searched by other",
    "UPDATE versions SET sample_sha256 = sha256 WHERE number = 2": "search: resnet@2 names another file",
    "UPDATE versions SET signature = '{}' WHERE number = 2": "search: the record of resnet@2 cannot be read",
    "UPDATE versions SET format = 'keras' WHERE number = 2": "search: the record of resnet@2 cannot be read",
    "UPDATE deployments SET alias = 'other'": "deployments: resnet@other is deployed, and there is no such alias",
    "UPDATE deployments SET replicas = 9": "deployments: the deployment of resnet@production is not what",
    "UPDATE deployments SET gpu_percent = 9": "deployments: the deployment of resnet@production is not what",
    "UPDATE deployments SET runtime = 'x'": "deployments: the deployment of resnet@production is not what",
    "UPDATE nodes SET state = 'x'": "nodes: node host-1 is 'x', wanted cordoned or draining",
    "DELETE FROM deployments": "deployments: the deployment of resnet@production is not what its last change made it",
    "UPDATE replicas SET version = 9": "replicas: replica r-1 is of resnet@9, which is not there",
}


@contextmanager
def damaged(url: str, *statements: str) -> Iterator[None]:
    """Rows as no program leaves them; afterwards they are as they were."""
    with opened(url) as database, database.engine.connect() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        before = {name: connection.execute(sa.select(table.clause)).all() for name, table in TABLES.items()}
        connection.rollback()
        unguarded = "PRAGMA foreign_keys = OFF" if is_sqlite else "SET session_replication_role = replica"
        connection.connection.cursor().execute(unguarded)
        for statement in statements:
            connection.exec_driver_sql(statement)
        connection.commit()
        try:
            yield
        finally:
            for name, table in TABLES.items():
                connection.execute(sa.delete(table.clause))
                if before[name]:
                    connection.execute(sa.insert(table.clause), [row._asdict() for row in before[name]])
            connection.commit()


@pytest.mark.parametrize("statement", DAMAGES)
def test_each_kind_of_damage_is_found(url: str, artifacts: Path, statement: str) -> None:
    with damaged(url, statement):
        found = problems_of(look(url, artifacts))
    assert any(re.match(DAMAGES[statement], problem) for problem in found), found
    assert all(re.search(r": .*(modelyard \w+|copy it there)", problem) for problem in found), "says what to do"


def test_of_many_problems_of_a_kind_only_some_are_told(url: str, artifacts: Path) -> None:
    move = (
        "INSERT INTO alias_moves (id, model, alias, kind, from_version, to_version, user_name, reason, moved_at) "
        "VALUES ({}, 'resnet', 'production', 'rollback', 2, 1, '', '', '2026-01-02 03:04:05')"
    )
    with damaged(url, *(move.format(1000 + number) for number in range(MOST_OF_A_KIND + 3))):
        found = problems_of(look(url, artifacts))
    broken = [problem for problem in found if "history of resnet@production is broken" in problem]
    assert len(broken) == MOST_OF_A_KIND and "history: there is more of this kind" in "\n".join(found)


def test_a_reference_that_leads_nowhere_is_found(tmp_path: Path, artifacts: Path) -> None:
    """By SQLite's own check; PostgreSQL keeps its references itself."""
    url = f"sqlite:///{tmp_path}/yard.db"
    fill_yard(url)
    with damaged(url, "UPDATE version_values SET number = 99 WHERE number = 2"):
        found = problems_of(look(url, artifacts))
    assert any(
        "references: row" in problem and "version_values refers to one of versions" in problem for problem in found
    )


def test_a_damaged_database_file_is_found(tmp_path: Path, artifacts: Path) -> None:
    path = tmp_path / "yard.db"
    fill_yard(f"sqlite:///{path}")
    content = bytearray(path.read_bytes())
    page = 4096 * (len(content) // 4096 // 2)
    content[page : page + 4096] = b"\xff" * 4096
    path.write_bytes(content)
    try:
        found = problems_of(look(f"sqlite:///{path}", artifacts))
    except UnavailableError as error:
        found = [error.message]
    assert any("damaged" in problem or "malformed" in problem for problem in found), found


def test_a_missing_file_is_found(url: str, artifacts: Path) -> None:
    for content, title in (("bb", "file of resnet@2"), (SAMPLE, "sample of resnet@")):
        file_of(artifacts, content).unlink()
        assert re.match(f"files: the {title}.* is not there.*copy it there", problems_of(look(url, artifacts))[-1])
        keep_files(artifacts)


def test_a_file_that_was_purged_need_not_be_there_and_one_that_was_deleted_must(url: str, artifacts: Path) -> None:
    assert not file_of(artifacts, "purged").exists()
    file_of(artifacts, "ccc").unlink()
    (problem,) = problems_of(look(url, artifacts))
    assert "file of resnet@3 is not there" in problem


def test_a_file_of_another_size_is_found(url: str, artifacts: Path) -> None:
    file_of(artifacts, "bb").write_text("b")
    (problem,) = problems_of(look(url, artifacts))
    assert "file of resnet@2 has 1 of 2 bytes" in problem


def test_other_bytes_are_found_where_files_are_read(url: str, artifacts: Path) -> None:
    file_of(artifacts, "bb").write_text("bc")
    assert problems_of(look(url, artifacts)) == []
    (problem,) = problems_of(look(url, artifacts, read_files=True))
    assert "file of resnet@2 has other bytes than it was registered with" in problem


def test_files_that_no_record_needs_are_counted(url: str, artifacts: Path) -> None:
    for content in ("purged", "stray"):
        path = file_of(artifacts, content)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    report = look(url, artifacts)
    assert report.problems == [] and report.counts["unneeded_files"] == 2
    assert "2 files (11 B) are kept that no record needs: modelyard purge removes them" in report.notes


def test_a_store_without_files_is_all_missing(url: str, tmp_path: Path) -> None:
    problems = problems_of(look(url, tmp_path / "nowhere"))
    # Each version that lacks a file is named, whoever else lacks the same one.
    assert len(problems) == len(set(problems)) == 7


def test_a_lineage_store_that_is_not_there_is_told_and_not_made(url: str, artifacts: Path) -> None:
    (problem,) = problems_of(look(url, artifacts, ask_lineage=True))
    assert "lineage: there is no lineage store" in problem and not (artifacts / "lineage.db").exists()


def test_facts_that_the_lineage_store_lost_are_found(tmp_path: Path, artifacts: Path) -> None:
    url = f"sqlite:///{tmp_path}/yard.db"
    fill_yard(url)
    with opened(url) as database:
        registry, lineage = SqlRegistryStore(database), LocalLineage(lineage_config("", "", artifacts))
        facts = registry.list_facts(True, 0, 1000)
        lineage.record([(fact, registry.get_version(fact.model, fact.version)) for fact in facts[1:]])
    (problem,) = problems_of(look(url, artifacts, ask_lineage=True))
    assert f"fact {facts[0].number} (resnet@1 was registered) is not in the lineage store" in problem


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_an_older_schema_is_told_with_the_way_on(
    request: pytest.FixtureRequest, tmp_path: Path, artifacts: Path, kind: str
) -> None:
    with make_url(kind, request, tmp_path) as url:
        make_old_database(url, "0001")
        report = look(url, artifacts)
    assert report.schema == "0001"
    assert len(report.problems) == 1 and "modelyard db upgrade" in report.problems[0].message


def test_a_newer_schema_is_refused(tmp_path: Path, artifacts: Path) -> None:
    url = f"sqlite:///{tmp_path}/yard.db"
    with opened(url) as database, database.writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(FailedPreconditionError, match="newer Modelyard"):
        look(url, artifacts)
