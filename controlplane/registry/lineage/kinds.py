"""What each kind of fact becomes. A new kind, such as a benchmark that a version went through, is one more entry here.

Its execution takes the version as its input, and has each declared property that the fact's details have under the
same name; lists and objects among them become JSON. Nothing else needs to know of it: reading follows events, and
docs/lineage.md lists what there is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.domain import FactKind
from controlplane.registry.lineage.nodes import NodeType, Value
from controlplane.registry.lineage_graph import NodeKind

PropertyTypes = Mapping[str, type[Value]]


def _execution(name: str) -> NodeType:
    return NodeType(NodeKind.EXECUTION, f"modelyard.{name}")


def _context(name: str) -> NodeType:
    return NodeType(NodeKind.CONTEXT, f"modelyard.{name}")


VERSION = NodeType(NodeKind.ARTIFACT, "modelyard.Version")
DATA_SET = NodeType(NodeKind.ARTIFACT, "modelyard.DataSet")
TRAINING_RUN = _execution("TrainingRun")
REGISTRATION = _execution("Registration")
DEPLOYMENT = _execution("Deployment")
UNDEPLOYMENT = _execution("Undeployment")
MODEL = _context("Model")
OF_ALIAS = _context("Alias")
OF_DEPLOYMENT = _context("Deployment")
YARD = _context("Yard")


@dataclass(frozen=True)
class ExecutionKind:
    """`properties`: beside who did it, when and why. `context`: the one of the alias that it belongs to, too."""

    type: NodeType
    properties: PropertyTypes = field(default_factory=dict)
    context: NodeType | None = None
    state: str = "COMPLETE"
    # Whether the version is another one for it, so that its artifact is written anew.
    changes_version: bool = False


_DEPLOYED: PropertyTypes = {
    "alias": str,
    "deployment": str,
    "replicas": int,
    "threads": int,
    # Where they were chosen.
    "gpu_percent": int,
    "gpu_memory_bytes": float,  # an integer here has 32 bits
    "runtime": str,
    "max_batch_rows": int,
    "max_batch_wait_us": int,
}

KINDS: Mapping[FactKind, ExecutionKind] = {
    FactKind.REGISTERED: ExecutionKind(REGISTRATION, changes_version=True),
    FactKind.CHANGED: ExecutionKind(_execution("Change"), {"revision": int, "changes": str}, changes_version=True),
    FactKind.ALIASED: ExecutionKind(
        _execution("AliasMove"), {"alias": str, "kind": str, "from_version": int}, OF_ALIAS
    ),
    # It runs until the next deployment of its alias, or the end of that.
    FactKind.DEPLOYED: ExecutionKind(DEPLOYMENT, _DEPLOYED, OF_DEPLOYMENT, "RUNNING"),
    FactKind.UNDEPLOYED: ExecutionKind(UNDEPLOYMENT, {"alias": str, "deployment": str}, OF_DEPLOYMENT),
    FactKind.DELETED: ExecutionKind(_execution("Deletion"), changes_version=True),
    FactKind.RESTORED: ExecutionKind(_execution("Restoration"), changes_version=True),
    FactKind.PURGED: ExecutionKind(_execution("Purge"), changes_version=True),
}

# Of every execution that a fact becomes. `fact`: its number; a float, for the library's integers have 32 bits on
# PostgreSQL. `time`: as `times.to_text` makes it.
_WHO_AND_WHEN: PropertyTypes = {"user": str, "reason": str, "time": str, "fact": float}

TYPES: Mapping[NodeType, PropertyTypes] = {
    VERSION: {
        "name": str,
        "model": str,
        "version": int,
        "revision": int,
        "created_at": str,
        "sha256": str,
        "size_bytes": float,  # an integer in stores that were made before PostgreSQL could have them
        "format": str,
        "packaging": str,
        "signature": str,  # JSON
        "details": str,  # JSON
        "sample_sha256": str,
        "description": str,
        "user": str,
        "git_commit": str,
        "training_run": str,
        "dataset_uri": str,
        "read_from": str,
        "imported_from": str,
    },
    DATA_SET: {"uri": str},
    TRAINING_RUN: {"training_run": str, "git_commit": str, "dataset_uri": str},
    MODEL: {"name": str},
    OF_ALIAS: {"model": str, "alias": str},
    OF_DEPLOYMENT: {"model": str, "alias": str},
    YARD: {"touched_at": str},  # one, once something could not be recorded
    **{kind.type: {**_WHO_AND_WHEN, **kind.properties} for kind in KINDS.values()},
}
