"""How a command fails: one sentence on standard error, and an exit code that a script can trust.

0: done. 1: the yard said no. 2: the command line was wrong. 3: no yard answers. 4: not in the time that was given.
130: interrupted.
"""

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from modelyard.errors import DeadlineExceededError, YardError

REFUSED, USAGE, UNREACHABLE, TIMED_OUT, INTERRUPTED = 1, 2, 3, 4, 130


class WaitTimeoutError(YardError):
    """What was asked for is under way, and not there yet."""


class YardGroup(TyperGroup):
    """The top of the command line: turns what a command raises into a sentence and a code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except YardError as error:
            raise typer.Exit(report(error)) from None
        except KeyboardInterrupt:
            sys.stderr.write("interrupted\n")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader (such as `head`) has had enough; Python's own flush at exit must not complain either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None


def report(error: YardError) -> int:
    """Writes the sentence and returns the exit code."""
    sys.stderr.write(f"modelyard: {error.message}\n")
    return exit_code(error)


def exit_code(error: YardError) -> int:
    from modelyard._calls import UnreachableError

    match error:
        case UnreachableError():
            return UNREACHABLE
        case WaitTimeoutError() | DeadlineExceededError():
            return TIMED_OUT
    return REFUSED
