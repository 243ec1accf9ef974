"""Calls to a real controller's registry, and what must be true of it at any time, whatever was killed before."""

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import grpc

from modelyard.v1 import registry_pb2 as pb
from modelyard.v1 import registry_pb2_grpc
from modelyard.v1.resources_pb2 import AliasMove, Model, Version, VersionChange
from tests.harness.programs import wait_for

_CHUNK_BYTES = 1 << 18


class RegistryCaller:
    """Use it in `with`."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        self.stub: Any = registry_pb2_grpc.RegistryServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def register(self, model: str, content: bytes, **header: Any) -> Version:
        facts = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), **header}
        announced = pb.CreateVersionRequest.Header(parent=f"models/{model}", **facts)

        def messages() -> Iterator[pb.CreateVersionRequest]:
            yield pb.CreateVersionRequest(header=announced)
            for start in range(announced.offset_bytes, len(content), _CHUNK_BYTES):
                yield pb.CreateVersionRequest(chunk=content[start : start + _CHUNK_BYTES])

        version: Version = self.stub.CreateVersion(messages(), timeout=60).version
        return version

    def register_from_uri(self, model: str, uri: str) -> Version:
        header = pb.CreateVersionRequest.Header(parent=f"models/{model}")
        responses = self.stub.CreateVersionFromUri(pb.CreateVersionFromUriRequest(header=header, uri=uri), timeout=60)
        *_, last = responses
        version: Version = last.version
        return version

    def set_alias(self, model: str, alias: str, version: int, reason: str = "") -> None:
        request = pb.SetAliasRequest(name=f"models/{model}/aliases/{alias}", version=version, reason=reason)
        self.stub.SetAlias(request, timeout=60)

    def roll_back(self, model: str, alias: str) -> None:
        self.stub.RollbackAlias(pb.RollbackAliasRequest(name=f"models/{model}/aliases/{alias}"), timeout=60)

    def models(self) -> list[Model]:
        return list(self.stub.ListModels(pb.ListModelsRequest(page_size=1000), timeout=60).models)

    def versions(self) -> list[Version]:
        """Of all models, deleted ones, too."""
        found: list[Version] = []
        token = ""
        while True:
            request = pb.ListVersionsRequest(parent="models/-", page_size=1000, page_token=token, show_deleted=True)
            page = self.stub.ListVersions(request, timeout=60)
            found += page.versions
            token = page.next_page_token
            if not token:
                return found

    def moves(self, model: str) -> list[AliasMove]:
        """Oldest first."""
        found: list[AliasMove] = []
        token = ""
        while True:
            request = pb.ListAliasMovesRequest(parent=f"models/{model}", page_size=1000, page_token=token)
            page = self.stub.ListAliasMoves(request, timeout=60)
            found += page.moves
            token = page.next_page_token
            if not token:
                return found[::-1]

    def changes(self, version: Version) -> list[VersionChange]:
        """Oldest first."""
        found: list[VersionChange] = []
        token = ""
        while True:
            request = pb.ListVersionChangesRequest(name=version.name, page_token=token)
            page = self.stub.ListVersionChanges(request, timeout=60)
            found += page.changes
            token = page.next_page_token
            if not token:
                return found

    def read(self, sha256: str) -> bytes:
        request = pb.ReadArtifactRequest(sha256=sha256)
        return b"".join(response.chunk for response in self.stub.ReadArtifact(request, timeout=60))

    def check(self) -> None:
        """No version without its file, no wrong file, no half alias, no gap in the numbers or in the history."""
        versions = self.versions()
        for version in versions:
            if not version.HasField("purge_time"):
                self._check_file(version.sha256, version.size_bytes)
                if version.HasField("sample"):
                    self._check_file(version.sample.sha256, version.sample.size_bytes)
        by_model: dict[str, list[Version]] = defaultdict(list)
        for version in versions:
            by_model[version.model].append(version)
        for model in self.models():
            numbers = sorted(version.number for version in by_model[model.model])
            assert numbers == list(range(1, model.latest_version + 1)), (model, numbers)
            self._check_aliases(model, by_model[model.model])

    def wait_recorded(self) -> None:
        """Until the lineage store has all that happened to every version."""
        for version in self.versions():
            request = pb.GetLineageRequest(name=version.name)
            wait_for(
                lambda r=request: self.stub.GetLineage(r, timeout=60).pending == 0, f"the lineage of {version.name}"
            )
            lineage = self.stub.GetLineage(request, timeout=60)
            registrations = [node for node in lineage.nodes if node.type == "modelyard.Registration"]
            assert len(registrations) == 1, lineage

    def _check_file(self, sha256: str, size_bytes: int) -> None:
        content = self.read(sha256)
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (sha256, size_bytes)

    def _check_aliases(self, model: Model, versions: list[Version]) -> None:
        there = {version.number for version in versions if not version.HasField("delete_time")}
        moves = self.moves(model.model)
        by_alias: dict[str, list[AliasMove]] = defaultdict(list)
        for move in moves:
            by_alias[move.alias].append(move)
        for of_alias in by_alias.values():
            assert of_alias[0].from_version == 0
            assert all(b.from_version == a.to_version for a, b in itertools.pairwise(of_alias)), of_alias
        ends = {alias: of_alias[-1].to_version for alias, of_alias in by_alias.items()}
        present = {alias.alias: alias.version for alias in model.aliases}
        assert present == {alias: version for alias, version in ends.items() if version}
        assert set(present.values()) <= there
