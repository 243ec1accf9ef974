"""How a command fails: one sentence on standard error, and an exit code that a script can trust.

0: done. 1: the yard said no. 2: the command line was wrong. 3: no yard answers. 4: not in the time that was given.
130: interrupted. With --json one more line, on standard output: `{"error": {"code": "NOT_FOUND", "message": "..."}}`,
where the code is the name of a gRPC status.
"""

import contextlib
import json
import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from modelyard.errors import DeadlineExceededError, YardError, status_of

REFUSED, USAGE, UNREACHABLE, TIMED_OUT, INTERRUPTED = 1, 2, 3, 4, 130
# All that can be wrong with a command line; typer exports one kind of it alone.
_UsageError: Any = typer.BadParameter.__bases__[0]


class WaitTimeoutError(DeadlineExceededError):
    """What was asked for is under way, and not there yet."""


class YardGroup(TyperGroup):
    """The top of the command line: turns what a command raises into a sentence and a code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.obj = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # what fails at the end of the process would be a stack on standard error
            return result
        except YardError as error:
            raise typer.Exit(report(error, as_json=ctx.obj)) from None
        except _UsageError as error:
            _print_json("INVALID_ARGUMENT", error.format_message(), ctx.obj)
            raise
        except KeyboardInterrupt:
            _tell("interrupted")
            _print_json("CANCELLED", "interrupted", ctx.obj)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader (such as `head`) has had enough; Python's own flush at exit must not complain either.
            _silence_stdout()
            raise typer.Exit(0) from None
        except OSError as error:
            _tell(f"modelyard: {_describe(error)}")
            with contextlib.suppress(OSError):  # it may be standard output that failed
                _print_json("INTERNAL", _describe(error), ctx.obj)
                sys.stdout.flush()
            _silence_stdout()
            raise typer.Exit(REFUSED) from None


def report(error: YardError, *, as_json: bool = False) -> int:
    """Writes the sentence and returns the exit code."""
    _tell(f"modelyard: {error.message}")
    _print_json(status_of(error).name, error.message, as_json)
    return exit_code(error)


def exit_code(error: YardError) -> int:
    from modelyard._calls import UnreachableError

    match error:
        case UnreachableError():
            return UNREACHABLE
        case DeadlineExceededError():
            return TIMED_OUT
    return REFUSED


def _describe(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")


def _print_json(code: str, message: str, wanted: bool) -> None:
    if wanted:
        sys.stdout.write(json.dumps({"error": {"code": code, "message": message}}) + "\n")


def _silence_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
