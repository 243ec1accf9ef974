"""RegistryService: aliases and their history."""

import asyncio
from typing import Any

from controlplane.domain import Alias
from controlplane.servicers.converters import alias_to_proto, move_to_proto
from controlplane.servicers.registry_base import RegistryMethods, page_size
from modelyard.errors import InvalidArgumentError
from modelyard.resource_names import check_new_alias_name, parse_alias_name, parse_model_name
from modelyard.v1 import registry_pb2 as pb


class AliasMethods(RegistryMethods):
    async def SetAlias(self, request: pb.SetAliasRequest, context: Any) -> pb.SetAliasResponse:
        model, name = parse_alias_name(request.name)
        author = self._author(request.user, request.reason)
        if request.version < 1:
            raise InvalidArgumentError(
                f"version {request.version} cannot be: say which of the model's versions, 1 or more"
            )
        await self._check_alias(model, name)
        wanted = Alias(model, name, request.version, author.at, author.user, author.reason)
        alias = await asyncio.to_thread(self._store.set_alias, wanted, _expected(request))
        self._tell_moved()
        return pb.SetAliasResponse(alias=alias_to_proto(alias))

    async def RollbackAlias(self, request: pb.RollbackAliasRequest, context: Any) -> pb.RollbackAliasResponse:
        model, name = parse_alias_name(request.name)
        author = self._author(request.user, request.reason)
        move = await asyncio.to_thread(self._store.roll_back_alias, model, name, author, _expected(request))
        self._tell_moved()
        assert move.to_version is not None  # it leads to a version, or is refused
        alias = Alias(model, name, move.to_version, move.author.at, move.author.user, move.author.reason)
        return pb.RollbackAliasResponse(alias=alias_to_proto(alias), from_version=move.from_version or 0)

    async def DeleteAlias(self, request: pb.DeleteAliasRequest, context: Any) -> pb.DeleteAliasResponse:
        model, name = parse_alias_name(request.name)
        author = self._author(request.user, request.reason)
        await asyncio.to_thread(self._store.delete_alias, model, name, author, _expected(request))
        self._tell_moved()
        return pb.DeleteAliasResponse()

    async def ListAliasMoves(self, request: pb.ListAliasMovesRequest, context: Any) -> pb.ListAliasMovesResponse:
        model, alias = _parse_parent(request.parent)
        size = page_size(request.page_size)
        page = await asyncio.to_thread(self._store.list_moves, model, alias, size, request.page_token)
        return pb.ListAliasMovesResponse(moves=map(move_to_proto, page.items), next_page_token=page.next_token)

    async def _check_alias(self, model: str, name: str) -> None:
        """InvalidArgumentError for a reserved word, unless the model has such an alias from before it was one."""
        try:
            check_new_alias_name(name)
        except InvalidArgumentError:
            known = await asyncio.to_thread(self._store.get_model, model)
            if all(alias.name != name for alias in known.aliases):
                raise

    def _tell_moved(self) -> None:
        self._on_change()
        self._registry.recorder.wake()


def _expected(request: Any) -> int | None:
    """InvalidArgumentError for what no alias can ever point to."""
    if request.expected_version < 0:
        raise InvalidArgumentError(
            f"expected_version is {request.expected_version}: wanted the version that you saw it point to, 0 for none"
        )
    return request.expected_version if request.HasField("expected_version") else None


def _parse_parent(parent: str) -> tuple[str, str]:
    """The model, and the alias or "" for all."""
    return parse_alias_name(parent) if "/aliases/" in parent else (parse_model_name(parent), "")
