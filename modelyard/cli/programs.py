"""`modelyard controller`, `agent` and `router`: one program alone, as `python -m` starts it."""

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
_HELP = {
    "controller": "Run the controller alone: registry, placement.",
    "agent": "Run a node agent alone: it serves replicas on this host.",
    "router": "Run a router alone: where clients connect.",
}


class ProgramCommand(TyperCommand):
    """Options and help are the program's own; completion asks it for them."""

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        if not incomplete.startswith("-") or self.name is None:
            return []  # the shell completes files
        from typer.core import CompletionItem  # type: ignore[attr-defined]  # where it comes from depends on typer

        shown = subprocess.run([*_command(self.name), "--help"], check=False, capture_output=True, text=True)
        return [CompletionItem(option) for option in find_options(shown.stdout) if option.startswith(incomplete)]


def find_options(help_text: str) -> list[str]:
    """The long options that a help of argparse lists, one a paragraph."""
    return re.findall(r"^  (?:-\w, )?(--[\w-]+)", help_text, re.MULTILINE)


def add_programs(app: typer.Typer) -> None:
    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    for program in PROGRAMS:
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
        check_installed(program)
        os.execv(sys.executable, [*_command(program), *context.args])

    return run


def _command(program: str) -> list[str]:
    return [sys.executable, "-P", "-m", PROGRAMS[program][0]]
