"""What happened in a small yard, for tests of what the lineage store makes of it."""

from datetime import timedelta

from controlplane.domain import Alias, Deployment, Source, VersionEdit
from controlplane.registry.recorder import Lineage
from controlplane.registry.store import RegistryStore, StateStore
from tests.harness.records import NOW, make_author, make_draft

DATA_SET = "s3://data/imagenet"


def tell_story(registry: RegistryStore, state: StateStore) -> None:
    """Two versions of resnet and one of bert, of one data set. The first was in production, the second is."""
    runs = [("resnet", "a", "run-41", "1b2c3d4", 0.91), ("resnet", "b", "run-42", "9fceb02", 0.94)]
    for place, (model, content, run, commit, accuracy) in enumerate([*runs, ("bert", "c", "run-7", "77aa001", 0.8)]):
        draft = make_draft(
            model, content, user="ann", metrics={"accuracy": accuracy}, source=Source(commit, run, DATA_SET)
        )
        registry.create_version(draft, NOW + timedelta(seconds=place))
    registry.set_alias(Alias("resnet", "production", 1, NOW + timedelta(seconds=10), "ann", "first"))
    state.put_deployment(Deployment("resnet", "production", replicas=2), make_author("ann", after_s=11))
    registry.edit_version("resnet", 2, VersionEdit(set_tags={"team": "vision"}), make_author("bob", after_s=12), None)
    registry.set_alias(Alias("resnet", "production", 2, NOW + timedelta(seconds=13), "bob", "better at night"))
    registry.delete_version("resnet", 1, make_author("ann", "replaced", after_s=14))


def record_all(registry: RegistryStore, lineage: Lineage) -> None:
    """As the recorder does, without its task."""
    facts = registry.list_facts(False, 0, 1000)
    lineage.record([(fact, registry.get_version(fact.model, fact.version)) for fact in facts])
    registry.mark_recorded([fact.number for fact in facts], True)
