"""Puts the registry together from settings."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from controlplane.clock import Clock
from controlplane.registry.artifacts import ArtifactStore
from controlplane.registry.inspection import ModelInspector
from controlplane.registry.lineage import MlMetadataLineage, sqlite_config
from controlplane.registry.recorder import LineageRecorder
from controlplane.registry.registrar import Registrar
from controlplane.registry.sql.database import Database
from controlplane.registry.sql.migrate import open_database
from controlplane.registry.sql.registry_store import SqlRegistryStore
from controlplane.registry.sql.state_store import SqlStateStore
from controlplane.registry.storage_errors import storage_errors_explained
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
    recorder: LineageRecorder
    database: Database

    async def start(self) -> None:
        await asyncio.to_thread(self.artifacts.prepare)
        self.recorder.start()

    async def close(self) -> None:
        await self.recorder.close()
        await asyncio.to_thread(self.database.close)


def open_registry(
    data: Path,
    *,
    now: Clock,
    database_url: str = "",
    artifacts_url: str = "",
    max_model_bytes: int = MAX_MODEL_BYTES,
    stalled_upload_s: float = STALLED_UPLOAD_S,
) -> Registry:
    """The registry with its state in the folder `data`, save for what a URL puts elsewhere. Blocking.

    Raises YardError with a sentence where the database or the artifacts cannot be used.
    """
    with storage_errors_explained(data):
        data.mkdir(parents=True, exist_ok=True)
    database = open_database(database_url or f"sqlite:///{(data / 'yard.db').absolute()}")
    store = SqlRegistryStore(database)
    artifacts = ArtifactStore(artifacts_url or str((data / "artifacts").absolute()), spool=data)
    recorder = LineageRecorder(store, MlMetadataLineage(sqlite_config(data / "lineage.db")))
    registrar = Registrar(
        store,
        artifacts,
        ModelInspector(),
        max_model_bytes=max_model_bytes,
        stalled_upload_s=stalled_upload_s,
        now=now,
        on_registered=recorder.wake,
    )
    return Registry(store, SqlStateStore(database), artifacts, registrar, recorder, database)
