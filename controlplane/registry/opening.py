"""Puts the registry together from settings."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from controlplane.clock import Clock
from controlplane.registry.files.artifacts import ArtifactStore
from controlplane.registry.files.file_locks import FileLocks
from controlplane.registry.files.locations import locate_artifacts, locate_database
from controlplane.registry.files.purge import Purger
from controlplane.registry.files.storage_errors import storage_errors_explained
from controlplane.registry.formats.inspection import ModelInspector
from controlplane.registry.lineage import MlMetadataLineage, lineage_config
from controlplane.registry.recorder import LineageRecorder
from controlplane.registry.registrar import Registrar
from controlplane.registry.sql.database import Database
from controlplane.registry.sql.migrate import open_database
from controlplane.registry.sql.registry_store import SqlRegistryStore
from controlplane.registry.sql.state_store import SqlStateStore
from controlplane.registry.store import RegistryStore, StateStore

MAX_MODEL_BYTES = 2 << 30  # protobuf's own limit, so the limit of an ONNX file
STALLED_UPLOAD_S = 60.0


@dataclass(frozen=True)
class Registry:
    """`start` it before it is used, `close` it once nothing uses it any more."""

    store: RegistryStore
    state: StateStore
    artifacts: ArtifactStore
    registrar: Registrar
    purger: Purger
    lineage: MlMetadataLineage
    recorder: LineageRecorder
    database: Database

    async def start(self) -> None:
        await self.artifacts.prepare()
        self.recorder.start()

    async def close(self) -> None:
        # Together: the recorder waits for what is under way, which a store that does not answer would keep it from.
        await asyncio.gather(self.recorder.close(), asyncio.to_thread(self.lineage.close), self.artifacts.close())
        await asyncio.to_thread(self.database.close)


def open_registry(
    data: Path,
    *,
    now: Clock,
    database_url: str = "",
    artifacts_url: str = "",
    lineage_url: str = "",
    max_model_bytes: int = MAX_MODEL_BYTES,
    stalled_upload_s: float = STALLED_UPLOAD_S,
    uri_prefixes: tuple[str, ...] = (),
) -> Registry:
    """The registry with its state in the folder `data`, save for what a URL puts elsewhere. Blocking.

    Raises YardError with a sentence where the database or the artifacts cannot be used.
    """
    with storage_errors_explained(data):
        data.mkdir(parents=True, exist_ok=True)
    database = open_database(locate_database(data, database_url))
    store = SqlRegistryStore(database)
    artifacts = ArtifactStore(locate_artifacts(data, artifacts_url), spool=data)
    lineage = MlMetadataLineage(lineage_config(lineage_url, database_url, data))
    recorder = LineageRecorder(store, lineage)
    # A file is not removed between its being kept and its record.
    locks = FileLocks()
    registrar = Registrar(
        store,
        artifacts,
        ModelInspector(max_unpacked_bytes=max_model_bytes),
        locks,
        max_model_bytes=max_model_bytes,
        stalled_upload_s=stalled_upload_s,
        now=now,
        on_registered=recorder.wake,
        uri_prefixes=uri_prefixes,
    )
    return Registry(
        store=store,
        state=SqlStateStore(database),
        artifacts=artifacts,
        registrar=registrar,
        purger=Purger(store, artifacts, locks),
        lineage=lineage,
        recorder=recorder,
        database=database,
    )
