"""Writing what facts became, so that writing it again changes nothing, wherever the first time ended.

ML Metadata's one call that would do all of it puts every node into every context, so contexts, nodes and the
belonging of these to those are a transaction each, in that order: what belongs to its contexts is there as a whole.
"""

from collections.abc import Iterable, Mapping, Sequence

from controlplane.registry.lineage.kinds import DEPLOYMENT, MODEL, UNDEPLOYMENT
from controlplane.registry.lineage.mlmd import MlmdStore
from controlplane.registry.lineage.nodes import Item, Key, Stored
from controlplane.registry.lineage.records import Record
from modelyard.errors import FailedPreconditionError


def write(store: MlmdStore, records: Sequence[Record]) -> None:
    versions = {record.version.key: record.version for record in records}
    nodes = {**{item.key: item for record in records for item in (record.execution, *record.origins)}, **versions}
    stored = store.find(nodes)
    _refuse_another_version(stored, versions)
    changed = {record.version.key for record in records if record.changes_version}
    store.update_artifacts([(stored[key], versions[key]) for key in sorted(changed & stored.keys())])
    _fill_executions(store, stored, records)
    contexts = _put_contexts(store, records)
    ids = {key: found.id for key, found in stored.items()}
    links = [link for record in records for link in record.links if link.comes_with not in stored]
    if new := [item for key, item in nodes.items() if key not in stored]:
        ids |= store.put_graph(new, {(link.artifact, link.execution): link for link in links}.values(), ids)
    _complete_deployments(store, records)
    # To its model a version belongs from its first record on; that may be half-written, where its execution is there.
    store.associate(
        {(contexts[key], ids[record.execution.key]) for record in records for key in record.context_keys},
        {
            (contexts[key], ids[record.version.key])
            for record in records
            for key in record.context_keys
            if key.type != MODEL or record.execution.key in stored or record.version.key not in stored
        },
    )


def _refuse_another_version(stored: Mapping[Key, Stored], versions: Mapping[Key, Item]) -> None:
    for key, version in versions.items():
        ours, theirs = (item.properties["sha256"] for item in (version, stored[key].item if key in stored else version))
        if ours != theirs:
            raise FailedPreconditionError(
                f"the lineage store has another {key.name} (sha256 {theirs}, the database {ours}): one of the two was "
                "restored without the other; restore both from the same backup"
            )


def _fill_executions(store: MlmdStore, stored: Mapping[Key, Stored], records: Iterable[Record]) -> None:
    """Those of a store that was made ahead of the journal, when a registration had no number, time or reason."""
    executions = {record.execution.key: record.execution for record in records}
    bare = [key for key in executions.keys() & stored.keys() if "fact" not in stored[key].item.properties]
    store.update_executions([(stored[key], executions[key]) for key in sorted(bare)])


def _put_contexts(store: MlmdStore, records: Iterable[Record]) -> Mapping[Key, int]:
    items = {item.key: item for record in records for item in record.contexts}
    ids = {key: found.id for key, found in store.find(items).items()}
    return ids | store.put_contexts([item for key, item in items.items() if key not in ids])


def _complete_deployments(store: MlmdStore, records: Iterable[Record]) -> None:
    """Of each alias at most the newest deployment runs: one that is followed by another, or by its end, is complete.

    By the numbers of the facts: they may be recorded in another order, and a clock that was set back tells another.
    """
    written = [record.execution for record in records if record.execution.key.type in (DEPLOYMENT, UNDEPLOYMENT)]
    if not written:
        return
    names = {str(item.properties["deployment"]) for item in written}
    running = store.find_by_text(DEPLOYMENT, "deployment", names, "last_known_state = RUNNING")
    newest = _newest_by_deployment([*written, *(stored.item for stored in running)])
    # Where the newest known one runs, something later may have been recorded earlier.
    unsure = {str(stored.item.properties["deployment"]): stored for stored in running if _is_newest(stored, newest)}
    if unsure:
        since = min(float(stored.item.properties["fact"]) for stored in unsure.values())
        for type_ in (DEPLOYMENT, UNDEPLOYMENT):
            later = store.find_by_text(type_, "deployment", unsure.keys(), f"properties.fact.double_value >= {since}")
            newest = _newest_by_deployment([*newest.values(), *(stored.item for stored in later)])
    store.complete([stored for stored in running if not _is_newest(stored, newest)])


def _newest_by_deployment(items: Iterable[Item]) -> dict[str, Item]:
    return {str(item.properties["deployment"]): item for item in sorted(items, key=_place)}


def _is_newest(stored: Stored, newest: Mapping[str, Item]) -> bool:
    return newest[str(stored.item.properties["deployment"])].key == stored.item.key


def _place(item: Item) -> float:
    return float(item.properties["fact"])
