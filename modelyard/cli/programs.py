"""`modelyard controller`, `agent` and `router`: one program alone, as `python -m` starts it."""

import importlib.util
import os
import sys
from collections.abc import Callable

import typer

from modelyard.cli.errors import REFUSED

# Program: its module, and a package that comes with its extra alone.
PROGRAMS = {
    "controller": ("controlplane", "sqlalchemy"),
    "agent": ("nodeagent", "onnxruntime"),
    "router": ("router", "envoy"),
}
_HELP = {
    "controller": "Run the controller alone: registry, placement.",
    "agent": "Run a node agent alone: it serves replicas on this host.",
    "router": "Run a router alone: where clients connect.",
}


def add_programs(app: typer.Typer) -> None:
    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    for program in PROGRAMS:
        example = f"Example: modelyard {program} --help"
        app.command(program, help=_HELP[program], context_settings=settings, epilog=example)(_make_command(program))


def check_installed(program: str) -> None:
    """Leaves with a sentence where the program's extra is not installed."""
    if importlib.util.find_spec(PROGRAMS[program][1]) is None:
        sys.stderr.write(
            f"modelyard: the {program} is not installed here: install this project with its extra `{program}`\n"
        )
        raise typer.Exit(REFUSED)


def _make_command(program: str) -> Callable[[typer.Context], None]:
    def run(context: typer.Context) -> None:
        check_installed(program)
        arguments = [sys.executable, "-P", "-m", PROGRAMS[program][0], *context.args]
        os.execv(sys.executable, arguments)

    return run
