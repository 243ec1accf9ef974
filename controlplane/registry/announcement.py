"""What a person says of a file before sending it, and the limits of that. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from modelyard.errors import InvalidArgumentError, ResourceExhaustedError
from modelyard.resource_names import check_model_name

_LONGEST_USER = 200
_LONGEST_TEXT = 2_000
_LONGEST_DESCRIPTION = 20_000
_LONGEST_KEY = 100
_MOST_ENTRIES = 200


@dataclass(frozen=True)
class Announcement:
    """`sha256`: 64 hexadecimal digits in lower case, of the whole file of `size_bytes`."""

    model: str
    size_bytes: int
    sha256: str
    description: str = ""
    user: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def check_announcement(announced: Announcement, max_model_bytes: int) -> None:
    """InvalidArgumentError, or ResourceExhaustedError for a file that is too large."""
    check_model_name(announced.model)
    if announced.size_bytes <= 0:
        raise InvalidArgumentError(
            f"size_bytes is {announced.size_bytes}; announce how many bytes the file has, 1 or more"
        )
    if announced.size_bytes > max_model_bytes:
        raise ResourceExhaustedError(
            f"the file has {announced.size_bytes} bytes and the controller takes {max_model_bytes} at most; "
            "start it with a larger --max-model-bytes"
        )
    _check_text("the description", announced.description, _LONGEST_DESCRIPTION)
    check_user(announced.user)
    for kind, entries in (("parameters", announced.parameters), ("tags", announced.tags)):
        _check_keys(kind, entries)
        for key, text in entries.items():
            _check_text(f"{kind}: the value of {key!r}", text, _LONGEST_TEXT)
    _check_keys("metrics", announced.metrics)
    for key, number in announced.metrics.items():
        if not math.isfinite(number):
            raise InvalidArgumentError(
                f"metrics: {key!r} is {number}; only finite numbers can be compared, leave it out"
            )


def check_user(user: str) -> None:
    _check_text("the user", user, _LONGEST_USER)


def check_reason(reason: str) -> None:
    _check_text("the reason", reason, _LONGEST_TEXT)


def _check_text(what: str, text: str, longest: int) -> None:
    if len(text) > longest:
        raise InvalidArgumentError(f"{what} has {len(text)} characters; {longest} is the most, keep the rest elsewhere")
    if "\0" in text:
        raise InvalidArgumentError(f"{what} holds a null character, which no database keeps; leave it out")


def _check_keys(kind: str, entries: Mapping[str, object]) -> None:
    if len(entries) > _MOST_ENTRIES:
        raise InvalidArgumentError(f"there are {len(entries)} {kind}; {_MOST_ENTRIES} is the most")
    for key in entries:
        if not 0 < len(key) <= _LONGEST_KEY or not key.isprintable():
            raise InvalidArgumentError(
                f"{kind}: {key[:_LONGEST_KEY]!r} cannot be a key; use 1 to {_LONGEST_KEY} printable characters"
            )
