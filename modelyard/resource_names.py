"""Names: the one place where they are checked, made and taken apart. docs/names.md has the rules for people.

The name of a model or an alias: 1 to 100 letters, digits, "-", "_" and ".", the first and last a letter or digit, no
two dots in a row. An alias is not a number alone, so that `resnet@3` is always a version and `resnet@eu` always an
alias; and no new alias is a word that means something else to whoever reads it.
"""

import re
from typing import NamedTuple

from modelyard.errors import InvalidArgumentError

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
_RULE = (
    'use 1 to 100 letters, digits, "-", "_" and ".", the first and the last a letter or digit; no "/", "@" or spaces'
)
# What an alias of that name would be taken for. Refused of new ones alone: a yard that has such an alias keeps it.
_RESERVED_ALIASES = {
    "latest": "the newest version, which an alias does not follow",
    "newest": "the newest version, which an alias does not follow",
    "none": "no version at all",
    "null": "no version at all",
    "all": "all versions",
}


class VersionName(NamedTuple):
    model: str
    number: int


class AliasName(NamedTuple):
    model: str
    alias: str


def check_model_name(name: str) -> str:
    """The name itself. Raises InvalidArgumentError that tells the rule."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise InvalidArgumentError(f"{name[:120]!r} cannot be the name of a model: {_RULE}")
    return name


def check_alias_name(name: str) -> str:
    """The name itself. Raises InvalidArgumentError that tells the rule."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise InvalidArgumentError(f"{name[:120]!r} cannot be an alias: {_RULE}")
    if name.isdigit():
        raise InvalidArgumentError(f"{name!r} cannot be an alias: a number alone means a version")
    return name


def check_new_alias_name(name: str) -> str:
    """The name itself, of an alias that is not there yet. Raises InvalidArgumentError for a reserved word, too."""
    meaning = _RESERVED_ALIASES.get(check_alias_name(name).lower())
    if meaning:
        raise InvalidArgumentError(
            f"{name!r} cannot be a new alias: it would be read as {meaning}; use another word, such as production, "
            "staging or champion"
        )
    return name


def model_name(model: str) -> str:
    return f"models/{model}"


def version_name(model: str, number: int) -> str:
    return f"models/{model}/versions/{number}"


def alias_name(model: str, alias: str) -> str:
    return f"models/{model}/aliases/{alias}"


def deployment_name(model: str, alias: str) -> str:
    return f"models/{model}/deployments/{alias}"


def model_id(model: str, number: int) -> str:
    """What people type: "resnet@3"."""
    return f"{model}@{number}"


def parse_model_name(name: str) -> str:
    """The model of "models/{model}". Raises InvalidArgumentError."""
    match name.split("/"):
        case ["models", model]:
            return check_model_name(model)
    raise InvalidArgumentError(f"{name[:200]!r} does not name a model: wanted models/NAME")


def parse_version_name(name: str) -> VersionName:
    """Model and number of "models/{model}/versions/{number}". Raises InvalidArgumentError."""
    match name.split("/"):
        case ["models", model, "versions", number] if _is_version_number(number):
            return VersionName(check_model_name(model), int(number))
    raise InvalidArgumentError(f"{name[:200]!r} does not name a version: wanted models/NAME/versions/NUMBER")


def parse_alias_name(name: str) -> AliasName:
    """Model and alias of "models/{model}/aliases/{alias}". Raises InvalidArgumentError."""
    match name.split("/"):
        case ["models", model, "aliases", alias]:
            return AliasName(check_model_name(model), check_alias_name(alias))
    raise InvalidArgumentError(f"{name[:200]!r} does not name an alias: wanted models/NAME/aliases/ALIAS")


def parse_deployment_name(name: str) -> AliasName:
    """Model and alias of "models/{model}/deployments/{alias}". Raises InvalidArgumentError."""
    match name.split("/"):
        case ["models", model, "deployments", alias]:
            return AliasName(check_model_name(model), check_alias_name(alias))
    raise InvalidArgumentError(f"{name[:200]!r} does not name a deployment: wanted models/NAME/deployments/ALIAS")


def parse_model_id(text: str) -> VersionName:
    """Model and number of "resnet@3". Raises InvalidArgumentError."""
    model, at, number = text.partition("@")
    if not at or not _is_version_number(number):
        raise InvalidArgumentError(f"{text[:200]!r} is not a model-id: wanted NAME@NUMBER, as in resnet@3")
    return VersionName(check_model_name(model), int(number))


def _is_version_number(text: str) -> bool:
    return len(text) < 20 and text.isascii() and text.isdigit() and 0 < int(text) < 2**63
