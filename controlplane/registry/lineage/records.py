"""What the lineage store holds of a fact, and of the version that it happened to. Pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from controlplane.domain import Fact, FactKind, Source, Version, VersionDraft
from controlplane.registry.lineage.kinds import (
    DATA_SET,
    KINDS,
    MODEL,
    TRAINING_RUN,
    TYPES,
    VERSION,
)
from controlplane.registry.lineage.nodes import Item, Key, Link, Value
from controlplane.registry.lineage.texts import keepable_name
from controlplane.registry.signature_json import details_to_json, signature_to_json
from modelyard.resource_names import model_name, version_name


@dataclass(frozen=True)
class Record:
    """`execution`: what the fact became; where it is there with its contexts, all of the record is.

    `origins`: the training run and its data set. `contexts`: the execution and the version belong to each.
    """

    execution: Item
    version: Item
    changes_version: bool
    origins: tuple[Item, ...]
    contexts: tuple[Item, ...]
    links: tuple[Link, ...]

    @property
    def context_keys(self) -> Sequence[Key]:
        return [context.key for context in self.contexts]


def compute_record(fact: Fact, version: Version) -> Record:
    """`version`: as it is now, which may be after later facts: so it is right in whatever order facts are recorded."""
    execution, artifact = _execution(fact), _version(version)
    own = Link(artifact.key, execution.key, fact.kind is FactKind.REGISTERED, fact.author.at, execution.key)
    run, data_set = _origins(fact, version)
    return Record(
        execution,
        artifact,
        KINDS[fact.kind].changes_version,
        tuple(item for item in (run, data_set) if item),
        _contexts(fact),
        (own, *_origin_links(own, run, data_set)),
    )


def execution_key(fact: Fact) -> Key:
    """Of what the fact becomes: a registration is named as its version, for there is one; others with time and number.

    A number alone would name another fact in a database that was restored, and lost what came after its backup.
    """
    name = f"{fact.model}@{fact.version}"
    if fact.kind is not FactKind.REGISTERED:
        name += f" {time_to_text(fact.author.at)} #{fact.number}"
    return Key(KINDS[fact.kind].type, name)


def time_to_text(at: datetime) -> str:
    """Texts of the same length, so that they compare as the times do."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def _execution(fact: Fact) -> Item:
    kind, author = KINDS[fact.kind], fact.author
    known: Mapping[str, Any] = {
        **fact.details,
        "alias": fact.alias,
        "deployment": f"{fact.model}/{fact.alias}",
        "user": author.user,
        "reason": author.reason,
        "time": time_to_text(author.at),
        "fact": fact.number,
    }
    properties = {key: _to_value(known[key]) for key in TYPES[kind.type] if known.get(key) is not None}
    return Item(execution_key(fact), properties, state=kind.state)


def _to_value(value: Any) -> Value:
    return value if isinstance(value, Value) else _to_json(value)


def _to_json(value: Any) -> str:
    # As few backslashes as can be: a text that has one is kept in another way (texts.py).
    return json.dumps(value, ensure_ascii=False)


def _contexts(fact: Fact) -> tuple[Item, ...]:
    model = Item(Key(MODEL, fact.model), {"name": model_name(fact.model)})
    type_ = KINDS[fact.kind].context
    if type_ is None:
        return (model,)
    return (model, Item(Key(type_, f"{fact.model}/{fact.alias}"), {"model": fact.model, "alias": fact.alias}))


def _version(version: Version) -> Item:
    facts = version.facts
    properties: dict[str, Value] = {
        "name": version_name(version.model, version.number),
        "model": version.model,
        "version": version.number,
        "revision": version.revision,
        "created_at": time_to_text(version.created_at),
        "sha256": facts.sha256,
        "size_bytes": facts.size_bytes,
        "format": facts.format.value,
        "packaging": facts.packaging.value,
        "signature": _to_json(signature_to_json(facts.signature)),
        "description": facts.description,
        "user": facts.user,
        **_optional(facts),
    }
    return Item(Key(VERSION, version.model_id), properties, _custom(facts), facts.uri, _state(version))


def _optional(facts: VersionDraft) -> dict[str, Value]:
    known = {
        "details": _to_json(details_to_json(facts.details)) if facts.details else "",
        "sample_sha256": facts.sample.sha256 if facts.sample else "",
        "git_commit": facts.source.git_commit,
        "training_run": facts.source.training_run,
        "dataset_uri": facts.source.dataset_uri,
        "read_from": facts.source.uri,
        "imported_from": facts.origin.model_id if facts.origin else "",
    }
    return {key: text for key, text in known.items() if text}


def _custom(facts: VersionDraft) -> dict[str, Value]:
    kinds: Mapping[str, Mapping[str, Value]] = {
        "metric": {key: float(number) for key, number in facts.metrics.items()},
        "parameter": facts.parameters,
        "tag": facts.tags,
    }
    return {f"{kind}.{key}": value for kind, entries in kinds.items() for key, value in entries.items()}


def _state(version: Version) -> str:
    if version.purged_at is not None:
        return "DELETED"
    return "LIVE" if version.deleted_at is None else "MARKED_FOR_DELETION"


def _origins(fact: Fact, version: Version) -> tuple[Item | None, Item | None]:
    """The training run and its data set, as far as its owner told of them."""
    source = version.facts.source
    if fact.kind is not FactKind.REGISTERED or replace(source, uri="") == Source():
        return None, None
    told = {"training_run": source.training_run, "git_commit": source.git_commit, "dataset_uri": source.dataset_uri}
    properties: dict[str, Value] = {key: text for key, text in told.items() if text}
    run = Item(Key(TRAINING_RUN, _run_name(version, told)), properties, state="COMPLETE")
    if not source.dataset_uri:
        return run, None
    uri = source.dataset_uri
    return run, Item(Key(DATA_SET, keepable_name(uri)), {"uri": uri}, uri=uri, state="LIVE")


def _run_name(version: Version, told: Mapping[str, str]) -> str:
    """One run for versions of which the same is told. Runs of one name but other code or data are different runs."""
    if not told["training_run"]:
        return version.model_id
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]
    return keepable_name(f"{told['training_run']} {digest}")


def _origin_links(own: Link, run: Item | None, data_set: Item | None) -> tuple[Link, ...]:
    if run is None:
        return ()
    made = Link(own.artifact, run.key, True, own.at, own.comes_with)
    return (made,) if data_set is None else (made, Link(data_set.key, run.key, False, own.at, run.key))
