"""The commands of `modelyard db`, with the settings of the controller whose database it is."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controlplane.registry.files.locations import locate_artifacts, locate_database
from modelyard.cli import options, output
from modelyard.cli.errors import REFUSED, YardGroup

if TYPE_CHECKING:
    from controlplane.settings import ControllerSettings

Data = Annotated[Path | None, typer.Option(help="The controller's folder.  [default: modelyard-data/controller]")]
DatabaseUrl = Annotated[str | None, typer.Option(metavar="URL", help="Of the database; default: SQLite in --data.")]
ArtifactsUrl = Annotated[str | None, typer.Option(metavar="URL", help="Where model files are; default: in --data.")]
LineageUrl = Annotated[str | None, typer.Option(metavar="URL", help="Of the lineage store; default: as the database.")]
Config = Annotated[Path | None, typer.Option(dir_okay=False, help="TOML file of the yard, for what is not given here.")]


def make_app() -> typer.Typer:
    app = typer.Typer(
        name="modelyard db",
        cls=YardGroup,
        no_args_is_help=True,
        help="Check, back up, restore and upgrade a yard's database. What the controller is told in its environment "
        "and in --config counts here, too.",
        rich_markup_mode=options.MARKUP_MODE,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    example = "Example: modelyard db "
    app.command(epilog=example + "check --data /srv/yard/controller --read-files")(check)
    app.command(epilog=example + "backup /backups --data /srv/yard/controller")(backup)
    app.command(epilog=example + "restore /backups/yard.jsonl.gz --data /srv/yard/controller --replace")(restore)
    app.command(epilog=example + "upgrade --data /srv/yard/controller")(upgrade)
    return app


def check(
    *,
    data: Data = None,
    database_url: DatabaseUrl = None,
    artifacts_url: ArtifactsUrl = None,
    lineage_url: LineageUrl = None,
    config: Config = None,
    read_files: Annotated[
        bool, typer.Option("--read-files", help="Read every file, and compare its bytes with its record.")
    ] = False,
    lineage: Annotated[bool, typer.Option("--lineage", help="Ask the lineage store for every recorded fact.")] = False,
    as_json: options.Json = False,
) -> None:
    """Look for records that contradict each other and for files that are missing. Changes nothing.

    A controller may run meanwhile. Exit status 1 where something is wrong.
    """
    from controlplane.db.check import Places
    from controlplane.db.check import check as check_yard
    from controlplane.registry.lineage import lineage_config

    settings = _read_settings(
        data=data, database_url=database_url, artifacts_url=artifacts_url, lineage_url=lineage_url, config=config
    )
    places = Places(
        _locate(settings),
        locate_artifacts(settings.data, settings.artifacts_url),
        lineage_config(settings.lineage_url, settings.database_url, settings.data),
    )
    with output.show_progress("checking the database") as progress:
        report = check_yard(places, read_files=read_files, ask_lineage=lineage, tell=progress.tell)
    if as_json:
        problems = [vars(problem) for problem in report.problems]
        output.print_json(
            {"schema": report.schema, "problems": problems, "notes": report.notes, "counts": report.counts}
        )
    else:
        for problem in report.problems:
            sys.stdout.write(f"{problem.check}: {problem.message}\n")
        for note in report.notes:
            sys.stdout.write(f"note: {note}\n")
        sys.stdout.write(f"{'NOT WELL' if report.problems else 'all is well'}: {_describe(report.counts)}\n")
    if report.problems:
        raise typer.Exit(REFUSED)


def backup(
    destination: Annotated[Path, typer.Argument(metavar="FILE_OR_FOLDER", help="A new file, or a folder for one.")],
    *,
    data: Data = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
    as_json: options.Json = False,
) -> None:
    """Write all records to one file, as they are at one moment. A controller may run meanwhile.

    It restores into SQLite and PostgreSQL alike. Model files are not in it: copy the artifacts after it.
    """
    from controlplane.db.backup import back_up

    url = _locate(_read_settings(data=data, database_url=database_url, config=config))
    with output.show_progress("backing up") as progress:
        made = back_up(url, destination, datetime.now(UTC), progress.tell)
    if as_json:
        output.print_json({**vars(made), "path": str(made.path)})
    else:
        sys.stdout.write(f"{made.path}: {made.size_bytes} bytes, schema {made.schema}, {_describe(made.rows)}\n")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `modelyard db backup` wrote.")],
    *,
    data: Data = None,
    database_url: DatabaseUrl = None,
    lineage_url: LineageUrl = None,
    config: Config = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of a yard that is there; it is kept aside.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Make the database what it was when a backup was written. The controller must not run.

    The lineage store is filled anew from the records when the controller starts.
    """
    from controlplane.db.restore import restore as restore_yard

    settings = _read_settings(data=data, database_url=database_url, lineage_url=lineage_url, config=config)
    with output.show_progress("restoring") as progress:
        made = restore_yard(
            file,
            settings.data,
            _locate(settings),
            lineage_url=settings.lineage_url,
            replace=replace,
            now=datetime.now(UTC),
            tell=progress.tell,
        )
    if as_json:
        output.print_json(vars(made))
        return
    sys.stdout.write(f"restored what it was at {made.made_at}: {_describe(made.rows)}\n")
    for kept in made.kept_aside:
        sys.stdout.write(f"kept aside: {kept}\n")


def upgrade(
    *, data: Data = None, database_url: DatabaseUrl = None, config: Config = None, as_json: options.Json = False
) -> None:
    """Bring the schema up to this program's, as the controller does when it starts. Make a backup before."""
    from controlplane.db.upgrade import upgrade as upgrade_yard

    settings = _read_settings(data=data, database_url=database_url, config=config)
    before, after = upgrade_yard(settings.data, _locate(settings))
    if as_json:
        output.print_json({"before": before, "after": after})
    elif before == after:
        sys.stdout.write(f"the schema is {after} already\n")
    else:
        sys.stdout.write(f"the schema was {before} and is {after}\n")


def _read_settings(**given: object) -> ControllerSettings:
    """As the controller would read them. InvalidArgumentError where it would refuse."""
    from controlplane.settings import ControllerSettings

    arguments = (
        word
        for name, value in given.items()
        if value is not None
        for word in (f"--{name.replace('_', '-')}", str(value))
    )
    return ControllerSettings.parse(list(arguments))


def _locate(settings: ControllerSettings) -> str:
    return locate_database(settings.data, settings.database_url)


def _describe(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
