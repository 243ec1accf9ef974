"""What a replica needs of the node's cache: its model, and its sample input where it has one."""

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from modelyard.errors import UnavailableError, YardError
from nodeagent.cache import ArtifactCache
from nodeagent.replica_spec import ReplicaSpec

log = logging.getLogger(__name__)

_SAMPLE_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class ReplicaFiles:
    """`model`: a file, or the folder of a packed one. `sample`: an .npz file."""

    model: Path
    sample: Path | None = None


async def fetch_files(
    spec: ReplicaSpec, cache: ArtifactCache, files_in_use: Callable[[], Collection[str]]
) -> ReplicaFiles:
    """`files_in_use` gives the checksums of files that may not leave the cache. Raises YardError with the reason."""
    return ReplicaFiles(await _fetch_model(spec, cache, files_in_use), await _fetch_sample(spec, cache, files_in_use))


async def _fetch_model(spec: ReplicaSpec, cache: ArtifactCache, files_in_use: Callable[[], Collection[str]]) -> Path:
    try:
        return await cache.fetch(spec.sha256, spec.size_bytes, files_in_use, is_packed=spec.is_packed)
    except YardError as error:
        raise UnavailableError(f"the model file cannot be had: {error.message}") from error
    except Exception as error:
        log.exception("replica %s: fetching its file", spec.replica_id)
        raise UnavailableError(f"the model file cannot be stored here: {error}") from error


async def _fetch_sample(
    spec: ReplicaSpec, cache: ArtifactCache, files_in_use: Callable[[], Collection[str]]
) -> Path | None:
    """None where there is none, or it cannot be had: a replica warms up without it as well."""
    if not (sample := spec.sample):
        return None
    try:
        async with asyncio.timeout(_SAMPLE_TIMEOUT_S):
            return await cache.fetch(sample.sha256, sample.size_bytes, files_in_use)
    except (YardError, OSError) as error:  # TimeoutError is an OSError
        log.warning("replica %s: warming up without its sample: %s", spec.replica_id, error)
        return None
