"""RegistryService: models, versions, and what may change of them."""

import asyncio
from typing import Any

from controlplane.domain import VersionEdit
from controlplane.registry.announcement import check_count, check_edit
from controlplane.registry.filter_language import parse_filter, parse_order
from controlplane.registry.version_query import VersionQuery
from controlplane.servicers.converters import change_to_proto, model_to_proto, version_to_proto
from controlplane.servicers.registry_base import RegistryMethods, page_size
from modelyard.errors import InvalidArgumentError
from modelyard.resource_names import VersionName, parse_model_name, parse_version_name
from modelyard.v1 import registry_pb2 as pb

_ALL_MODELS = "models/-"
_LARGEST_AGE_S = 100 * 365 * 86_400  # so long before now every calendar still has a day


class VersionMethods(RegistryMethods):
    async def GetModel(self, request: pb.GetModelRequest, context: Any) -> pb.GetModelResponse:
        model = await asyncio.to_thread(self._store.get_model, parse_model_name(request.name))
        return pb.GetModelResponse(model=model_to_proto(model))

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        size = page_size(request.page_size)
        page = await asyncio.to_thread(self._store.list_models, size, request.page_token)
        return pb.ListModelsResponse(models=map(model_to_proto, page.items), next_page_token=page.next_token)

    async def GetVersion(self, request: pb.GetVersionRequest, context: Any) -> pb.GetVersionResponse:
        version = await asyncio.to_thread(self._store.get_version, *parse_version_name(request.name))
        return pb.GetVersionResponse(version=version_to_proto(version))

    async def ListVersions(self, request: pb.ListVersionsRequest, context: Any) -> pb.ListVersionsResponse:
        query = VersionQuery(
            model="" if request.parent == _ALL_MODELS else parse_model_name(request.parent),
            filter=parse_filter(request.filter),
            order=parse_order(request.order_by),
            show_deleted=request.show_deleted,
        )
        size = page_size(request.page_size)
        page = await asyncio.to_thread(self._store.list_versions, query, size, request.page_token)
        return pb.ListVersionsResponse(versions=map(version_to_proto, page.items), next_page_token=page.next_token)

    async def UpdateVersion(self, request: pb.UpdateVersionRequest, context: Any) -> pb.UpdateVersionResponse:
        model, number = parse_version_name(request.name)
        author = self._author(request.user, request.reason)
        for kind, count in (
            ("tags", len(request.set_tags)),
            ("removed tags", len(request.remove_tags)),
            ("metrics", len(request.add_metrics)),
        ):
            check_count(kind, count)  # before they are copied, as those of an announcement
        edit = VersionEdit(
            description=request.description if request.HasField("description") else None,
            set_tags=dict(request.set_tags),
            remove_tags=tuple(request.remove_tags),
            add_metrics=dict(request.add_metrics),
        )
        check_edit(edit)
        expected = request.expected_revision if request.HasField("expected_revision") else None
        version = await asyncio.to_thread(self._store.edit_version, model, number, edit, author, expected)
        self._registry.recorder.wake()
        return pb.UpdateVersionResponse(version=version_to_proto(version))

    async def ListVersionChanges(
        self, request: pb.ListVersionChangesRequest, context: Any
    ) -> pb.ListVersionChangesResponse:
        named, size = parse_version_name(request.name), page_size(request.page_size)
        page = await asyncio.to_thread(self._store.list_changes, *named, size, request.page_token)
        return pb.ListVersionChangesResponse(changes=map(change_to_proto, page.items), next_page_token=page.next_token)

    async def DeleteVersion(self, request: pb.DeleteVersionRequest, context: Any) -> pb.DeleteVersionResponse:
        model, number = parse_version_name(request.name)
        author = self._author(request.user, request.reason)
        version = await asyncio.to_thread(self._store.delete_version, model, number, author)
        self._registry.recorder.wake()
        return pb.DeleteVersionResponse(version=version_to_proto(version))

    async def RestoreVersion(self, request: pb.RestoreVersionRequest, context: Any) -> pb.RestoreVersionResponse:
        model, number = parse_version_name(request.name)
        author = self._author(request.user, request.reason)
        version = await asyncio.to_thread(self._store.restore_version, model, number, author)
        self._registry.recorder.wake()
        return pb.RestoreVersionResponse(version=version_to_proto(version))

    async def PurgeVersions(self, request: pb.PurgeVersionsRequest, context: Any) -> pb.PurgeVersionsResponse:
        only: VersionName | None = parse_version_name(request.name) if request.name else None
        if not 0 <= request.min_age_s <= _LARGEST_AGE_S:
            raise InvalidArgumentError(f"min_age_s is {request.min_age_s}: wanted seconds, 0 to {_LARGEST_AGE_S}")
        author = self._author(request.user, request.reason)
        purged = await self._registry.purger.purge(
            author, only=only, min_age_s=request.min_age_s, dry_run=request.dry_run
        )
        self._registry.recorder.wake()
        return pb.PurgeVersionsResponse(
            versions=map(version_to_proto, purged.versions),
            removed_files=purged.removed_files,
            removed_bytes=purged.removed_bytes,
            version_count=purged.version_count,
        )
