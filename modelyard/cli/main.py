"""The command line: `modelyard COMMAND`."""

import io
import os
import signal
import sys


def main() -> None:
    _open_closed_streams()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what is half-done is removed
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a character that the terminal lacks is no reason to end
            stream.reconfigure(errors="replace")
    try:
        from modelyard.cli.app import make_app

        make_app()()
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        sys.exit("modelyard: the command line is not installed here: install this project with its extra `cli`")
    except KeyboardInterrupt:  # before there is a command to interrupt
        sys.exit(130)


def _open_closed_streams() -> None:
    """Python has None for what the caller closed (`>&-`), and the next file that is opened would take its number."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)  # a program takes the place of this one
            setattr(sys, name, os.fdopen(descriptor, "r" if name == "stdin" else "w"))
