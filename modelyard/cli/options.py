"""Options that several commands have."""

import getpass
import sys
from typing import Annotated, Literal

import typer

Controller = Annotated[
    str, typer.Option(envvar="MODELYARD_CONTROLLER", metavar="HOST:PORT", help="Where the controller listens.")
]
Router = Annotated[str, typer.Option(envvar="MODELYARD_ROUTER", metavar="HOST:PORT", help="Where the router listens.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done.")]
WaitTimeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0, help="How long to wait.")]
AliasOption = Annotated[str, typer.Option(metavar="ALIAS", help="Which alias of the model.")]
ModelArgument = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]
VersionArgument = Annotated[str, typer.Argument(metavar="NAME@NUMBER", help="The version's model-id.")]
Reason = Annotated[str, typer.Option(help="Kept in the history.")]
Metrics = Annotated[list[str] | None, typer.Option("--metric", metavar="KEY=NUMBER", help="top1=0.76; repeatable.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="Repeatable.")]
ExistOk = Annotated[bool, typer.Option("--exist-ok", help="Where NAME has this very content, print that version.")]
Expect = Annotated[
    int | None,
    typer.Option(
        metavar="NUMBER",
        min=0,
        help="Only if the alias points there; 0: if it is new.  [default: where it points to now]",
    ),
]

# Drawing help with rich takes a quarter of a second: only where somebody sees it.
MARKUP_MODE: Literal["rich"] | None = "rich" if sys.stdout.isatty() else None

CONTROLLER = "127.0.0.1:8010"
ROUTER = "127.0.0.1:8001"


def login_name() -> str:
    """Who runs this command; empty where the user has no name, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
