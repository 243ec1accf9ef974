"""What is known of the programs without starting them."""

from modelyard.cli.programs import find_options

HELP = """usage: modelyard agent [-h] [--data Path] [--log-format {text,json}]

options:
  -h, --help            show this help message and exit
  --data Path           folder for what must outlive a restart (default:
                        modelyard-data/agent)
  --log-format {text,json}
                        text for people, --json is no option (default: text)
"""


def test_the_options_are_those_that_the_help_lists() -> None:
    assert find_options(HELP) == ["--help", "--data", "--log-format"]
