"""`modelyard controller`, `agent`, `router` and `db`: one program alone, as `python -m` starts it."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand

from modelyard.cli.errors import REFUSED

# Program: its module, and a package that comes with its extra alone.
PROGRAMS = {
    "controller": ("controlplane", "sqlalchemy"),
    "agent": ("nodeagent", "onnxruntime"),
    "router": ("router", "envoy"),
}
# What belongs to a program and is none that runs on: its module, and that program.
_TOOLS = {"db": ("controlplane.db", "controller")}
_HELP = {
    "controller": "Run the controller alone: registry, placement.",
    "agent": "Run a node agent alone: it serves replicas on this host.",
    "router": "Run a router alone: where clients connect.",
    "db": "Check, back up, restore or upgrade a controller's database.",
}


class ProgramCommand(TyperCommand):
    """Options and help are the program's own; completion asks it for them."""

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        if not incomplete.startswith("-") or self.name is None:
            return []  # the shell completes files
        from typer.core import CompletionItem  # type: ignore[attr-defined]  # where it comes from depends on typer

        # Only a tool has commands of its own, whose options these are.
        subcommand = ctx.args[:1] if self.name in _TOOLS else []
        help_command = [*_command(self.name), *subcommand, "--help"]
        shown = subprocess.run(help_command, check=False, capture_output=True, text=True)
        return [CompletionItem(option) for option in find_options(shown.stdout) if option.startswith(incomplete)]


def find_options(help_text: str) -> list[str]:
    """The long options that a help of argparse or click lists, one a paragraph."""
    return re.findall(r"^  (?:-\w, )?(--[\w-]+)", help_text, re.MULTILINE)


def add_programs(app: typer.Typer) -> None:
    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    for program in (*PROGRAMS, *_TOOLS):
        declare = app.command(program, cls=ProgramCommand, help=_HELP[program], context_settings=settings)
        declare(_make_command(program))


def check_installed(program: str) -> None:
    """Leaves with a sentence where the program's extra is not installed."""
    if importlib.util.find_spec(PROGRAMS[program][1]) is None:
        sys.stderr.write(
            f"modelyard: the {program} is not installed here: install this project with its extra `{program}`\n"
        )
        raise typer.Exit(REFUSED)


def _make_command(program: str) -> Callable[[typer.Context], None]:
    def run(context: typer.Context) -> None:
        check_installed(_TOOLS[program][1] if program in _TOOLS else program)
        os.execv(sys.executable, [*_command(program), *context.args])

    return run


def _command(program: str) -> list[str]:
    module, _ = _TOOLS[program] if program in _TOOLS else PROGRAMS[program]
    return [sys.executable, "-P", "-m", module]
