"""The command line: `modelyard COMMAND`."""

import sys


def main() -> None:
    try:
        from modelyard.cli.app import make_app
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        sys.exit("modelyard: the command line is not installed here: install this project with its extra `cli`")
    make_app()()
