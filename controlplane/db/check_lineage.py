"""Whether the lineage store has every fact that the journal says it has."""

from collections.abc import Callable, Iterator
from contextlib import closing

from controlplane.db.report import Report
from controlplane.registry.lineage import LineageConfig, MlMetadataLineage
from controlplane.registry.lineage.config import SqliteFile
from controlplane.registry.sql.database import Database
from controlplane.registry.sql.registry_store import SqlRegistryStore
from modelyard.resource_names import model_id

_FACTS_AT_ONCE = 200
_FILLED = "the controller fills it again when it next starts"


def check_lineage(database: Database, config: LineageConfig, report: Report, tell: Callable[[str], None]) -> None:
    """UnavailableError where the lineage store cannot be used."""
    if isinstance(config, SqliteFile) and not config.path.exists():  # asking would make it
        report.add("lineage", [f"there is no lineage store {config.path}: {_FILLED}"])
        return
    with closing(MlMetadataLineage(config)) as lineage:
        report.add("lineage", _find_missing(SqlRegistryStore(database), lineage, tell))


def _find_missing(store: SqlRegistryStore, lineage: MlMetadataLineage, tell: Callable[[str], None]) -> Iterator[str]:
    after = 0
    while page := store.list_facts(True, after, _FACTS_AT_ONCE):
        tell(f"checking the lineage from fact {after}")
        found = lineage.has(page)
        for fact in page:
            if fact.number not in found:
                name = model_id(fact.model, fact.version)
                yield f"fact {fact.number} ({name} was {fact.kind.value}) is not in the lineage store: {_FILLED}"
        after = page[-1].number
