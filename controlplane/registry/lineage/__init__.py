"""What every version is, where it came from and what it went through, in ML Metadata.

A version is an artifact, its model a context, and what happened to it executions with it as their output or input;
docs/lineage.md has all of it. The SQL database decides; this store is told afterwards, of each fact once.
"""

from controlplane.registry.lineage.config import LineageConfig, lineage_config
from controlplane.registry.lineage.journal import MlMetadataLineage

__all__ = ["LineageConfig", "MlMetadataLineage", "lineage_config"]
