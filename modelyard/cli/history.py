"""`modelyard history` and `rollback`: where an alias pointed when, who moved it and why, and the way back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from modelyard.cli import options, output, parsing
from modelyard.cli.aliases import find_alias_version, tell_moved
from modelyard.cli.controller import Controller, check_model_exists, list_all
from modelyard.resource_names import alias_name, check_alias_name, check_model_name, model_name

_PAGE_SIZE = 1000


def history(
    *,
    name: options.ModelArgument,
    alias: Annotated[str | None, typer.Option(metavar="ALIAS", help="Of this alias only.")] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="What each alias pointed to then: '2026-03-01 14:30'.")
    ] = None,
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """List the moves of a model's aliases, newest first: when, from where, to where, who and why.

    With --at: what they pointed to at that time, which is local time unless it names a zone.
    """
    moment = parsing.parse_time("--at", at) if at else None
    check_model_name(name)
    parent = alias_name(name, check_alias_name(alias)) if alias else model_name(name)
    with Controller(controller) as yard:
        moves = output.collect(_list_moves(yard, parent), "moves")
        if not moves:
            check_model_exists(yard, name)
    if moment:
        moves = find_last_moves(moves, moment)
    if as_json:
        output.print_json([output.to_plain(move) for move in moves])
    elif moment:
        _print_at(moves, name, moment)
    else:
        _print_moves(moves, name, alias)


def rollback(
    *,
    name: options.ModelArgument,
    alias: options.AliasOption = "production",
    reason: options.Reason = "",
    expect: options.Expect = None,
    wait: options.Wait = True,
    timeout: options.WaitTimeout = 300.0,
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """Point an alias back to the version that it pointed to before, and wait for the move where it is served.

    A second rollback goes one step further back.
    """
    from modelyard.v1 import registry_pb2

    resource = alias_name(check_model_name(name), check_alias_name(alias))
    with Controller(controller) as yard:
        seen = find_alias_version(yard, name, alias) if expect is None else expect
        request = registry_pb2.RollbackAliasRequest(
            name=resource, user=options.login_name(), reason=reason, expected_version=seen
        )
        answer = yard.registry.RollbackAlias(request)
        sentence = f"{name}@{alias} rolled back from {answer.from_version or 'nothing'} to {answer.alias.version}"
        tell_moved(yard, answer.alias, sentence, timeout if wait else None, as_json)
    if as_json:
        output.print_json({**output.to_plain(answer.alias), "from_version": answer.from_version})


def find_last_moves(moves: Iterable[Any], moment: datetime) -> list[Any]:
    """Of each alias that there was at `moment`, the move that put it where it was, by alias. `moves`: newest first."""
    last: dict[str, Any] = {}
    for move in moves:
        if move.alias not in last and move.time.ToDatetime(tzinfo=UTC) <= moment:
            last[move.alias] = move
    return [last[alias] for alias in sorted(last) if last[alias].to_version]


def _list_moves(yard: Controller, parent: str) -> Iterable[Any]:
    from modelyard.v1 import registry_pb2

    def load_page(token: str) -> tuple[list[Any], str]:
        request = registry_pb2.ListAliasMovesRequest(parent=parent, page_size=_PAGE_SIZE, page_token=token)
        response = yard.registry.ListAliasMoves(request)
        return list(response.moves), response.next_page_token

    return list_all(load_page)


def _print_moves(moves: Sequence[Any], name: str, alias: str | None) -> None:
    rows = [
        (output.format_time(move.time), move.alias, move.from_version, _describe_end(move), move.user, move.reason)
        for move in moves
    ]
    empty = f"{f'{name}@{alias}' if alias else f'no alias of {name}'} was {'never' if alias else 'ever'} set"
    output.print_table(
        ["MOVED", "ALIAS", "FROM", "TO", "USER", "REASON"],
        [[cell if cell != 0 else "-" for cell in row] for row in rows],
        empty=empty,
    )


def _describe_end(move: Any) -> str:
    from modelyard.v1.resources_pb2 import AliasMove

    if move.kind == AliasMove.ROLLBACK:
        return f"rolled back to {move.to_version}"
    return str(move.to_version) if move.to_version else "removed"


def _print_at(moves: Sequence[Any], name: str, moment: datetime) -> None:
    rows = [
        (move.alias, f"{name}@{move.to_version}", output.format_time(move.time), move.user, move.reason)
        for move in moves
    ]
    empty = f"{name} had no alias at {moment:%Y-%m-%d %H:%M:%S %Z}"
    output.print_table(["ALIAS", "VERSION", "SINCE", "USER", "REASON"], rows, empty=empty)
