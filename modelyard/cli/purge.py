"""`modelyard purge`: the files of deleted versions go for good."""

from __future__ import annotations

import math
import sys
import time
from typing import Annotated, Any

import typer

from modelyard.cli import options, output, parsing
from modelyard.cli.controller import Controller, get_version
from modelyard.errors import FailedPreconditionError
from modelyard.resource_names import parse_model_id, version_name
from modelyard.sizes import format_size

# The controller looks at every file that it keeps.
_TIMEOUT_S = 3600.0


def purge(
    *,
    version: Annotated[
        str | None, typer.Argument(metavar="[NAME@NUMBER]", help="This one only.  [default: all that were deleted]")
    ] = None,
    older_than: Annotated[
        str, typer.Option(metavar="TIME", help="Only what was deleted so long ago, such as 30d or 12h.")
    ] = "0s",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would go, and remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    reason: options.Reason = "",
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """Remove the files of deleted versions, and files that no record needs.

    It cannot be taken back. The records of the versions stay: `modelyard versions --deleted`.
    """
    from modelyard.v1 import registry_pb2

    request = registry_pb2.PurgeVersionsRequest(
        name=version_name(*parse_model_id(version)) if version else "",
        user=options.login_name(),
        reason=reason,
        min_age_s=parsing.parse_duration_s("--older-than", older_than),
        dry_run=True,
    )
    asked_at = time.monotonic()
    with Controller(controller) as yard:
        is_again = version is not None and _is_purged(yard, version)
        result = None
        if dry_run or not yes:
            result = _purge(yard, request, is_again)
        if not dry_run and (result is None or _is_wanted(result)):
            request.dry_run = False
            if result is not None and version is None:
                _leave_out_later(request, asked_at)
            result = _purge(yard, request, is_again)
    assert result is not None
    if as_json:
        output.print_json({**output.to_plain(result), "dry_run": request.dry_run})
        return
    if is_again:
        typer.echo(f"{version} was purged already")
    _print(result, request.dry_run)


def _is_purged(yard: Controller, version: str) -> bool:
    return bool(get_version(yard, *parse_model_id(version)).HasField("purge_time"))


def _purge(yard: Controller, request: Any, is_again: bool) -> Any:
    """`is_again`: the one version was purged before, and is not told of as if it were now."""
    with output.show_progress("looking for what can go" if request.dry_run else "removing files"):
        result = yard.registry.PurgeVersions(request, timeout_s=_TIMEOUT_S)
    if is_again:  # files that a purge left which was cut off may go all the same
        del result.versions[:]
        result.version_count = 0
    return result


def _leave_out_later(request: Any, asked_at: float) -> None:
    """What was deleted since `asked_at` is not on the list that was said yes to."""
    since_s = time.monotonic() - asked_at
    whole_s = math.ceil(since_s)
    time.sleep(whole_s - since_s)  # ages are whole seconds, and the last of the list may be younger than one
    request.min_age_s += whole_s


def _is_wanted(result: Any) -> bool:
    """Asks whoever sits at the terminal; nothing to remove needs no question.

    Raises FailedPreconditionError where nobody can be asked, typer.Abort where the answer is no.
    """
    if not result.versions and not result.removed_files:
        return False
    if not sys.stdin.isatty():
        raise FailedPreconditionError(
            f"{_describe(result)} would go for good: say --yes to remove them, or --dry-run to see which"
        )
    for version in result.versions:
        typer.echo(version.model_id, err=True)
    if more := _count_untold(result):
        typer.echo(f"and {more} more", err=True)
    return typer.confirm(f"Remove {_describe(result)} for good?", abort=True, err=True)


def _describe(result: Any) -> str:
    count = len(result.versions) + _count_untold(result)
    versions = f"{count} version{'' if count == 1 else 's'}"
    files = f"{result.removed_files} file{'' if result.removed_files == 1 else 's'}"
    return f"{versions} with {files} of {format_size(result.removed_bytes)}"


def _count_untold(result: Any) -> int:
    """Versions beyond those that one answer has room for. A controller of an earlier release counts none."""
    return max(0, int(result.version_count) - len(result.versions))


def _print(result: Any, is_dry_run: bool) -> None:
    if not result.versions and not result.removed_files:
        typer.echo("there is nothing to purge")
        return
    rows = [
        (
            version.model_id,
            format_size(version.size_bytes),
            output.format_time(version.delete_time),
            version.description,
        )
        for version in result.versions
    ]
    if rows:
        output.print_table(["MODEL-ID", "SIZE", "DELETED", "DESCRIPTION"], rows)
    if more := _count_untold(result):
        typer.echo(f"and {more} more")
    typer.echo(f"{_describe(result)} {'would go' if is_dry_run else 'removed'}")
