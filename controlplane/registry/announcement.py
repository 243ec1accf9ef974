"""What a person says of a file before sending it, and the limits of that. Pure."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.domain import Origin, Source, VersionEdit
from controlplane.registry.formats.inspected import MOST_SAMPLE_BYTES
from controlplane.registry.formats.tensorrt_plan import check_gpu
from modelyard.errors import InvalidArgumentError, ResourceExhaustedError
from modelyard.resource_names import check_model_name

_LONGEST_USER = 200
_LONGEST_TEXT = 2_000
_LONGEST_DESCRIPTION = 20_000
_LONGEST_KEY = 100
_LONGEST_COMMIT = 200
MOST_ENTRIES = 200
# All but tab, line feed and carriage return.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Announcement:
    """`sha256`: 64 hexadecimal digits in lower case, of the whole file of `size_bytes`.

    Of a file that the controller reads itself these two may be "" and 0: not told. `sample`: an .npz file, or nothing.
    `gpu`: what a TensorRT plan was built for. `offset_bytes`: where the first chunk that is sent belongs.
    """

    model: str
    size_bytes: int
    sha256: str
    description: str = ""
    user: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    source: Source = field(default_factory=Source)
    sample: bytes = b""
    gpu: str = ""
    offset_bytes: int = 0
    origin: Origin | None = None


def check_announcement(announced: Announcement, max_model_bytes: int, *, is_sent: bool = True) -> None:
    """InvalidArgumentError, or ResourceExhaustedError for a file that is too large.

    `is_sent`: the file comes with the call, so that its size must be told.
    """
    check_model_name(announced.model)
    if announced.size_bytes < (1 if is_sent else 0):
        raise InvalidArgumentError(
            f"size_bytes is {announced.size_bytes}; announce how many bytes the file has, 1 or more"
        )
    if not 0 <= announced.offset_bytes <= announced.size_bytes:
        raise InvalidArgumentError(
            f"offset_bytes is {announced.offset_bytes}; it must lie in the file of {announced.size_bytes} bytes"
        )
    check_size(announced.size_bytes, max_model_bytes)
    _check_words(announced)
    _check_metrics(announced.metrics)
    if len(announced.sample) > MOST_SAMPLE_BYTES:
        raise ResourceExhaustedError(
            f"the sample has {len(announced.sample)} bytes; {MOST_SAMPLE_BYTES} is the most, give one with fewer rows"
        )


def check_size(size_bytes: int, max_model_bytes: int) -> None:
    """ResourceExhaustedError for a file that is too large."""
    if size_bytes > max_model_bytes:
        raise ResourceExhaustedError(
            f"the file has {size_bytes} bytes and the controller takes {max_model_bytes} at most; "
            "start it with a larger --max-model-bytes"
        )


def check_edit(edit: VersionEdit) -> None:
    """InvalidArgumentError for what could not have been said at the registration either."""
    _check_text("the description", edit.description or "", _LONGEST_DESCRIPTION)
    _check_entries("tags", edit.set_tags)
    _check_keys("removed tags", dict.fromkeys(edit.remove_tags))
    _check_metrics(edit.add_metrics)


def _check_words(announced: Announcement) -> None:
    _check_text("the description", announced.description, _LONGEST_DESCRIPTION)
    check_user(announced.user)
    _check_entries("parameters", announced.parameters)
    _check_entries("tags", announced.tags)
    source, origin = announced.source, announced.origin or Origin("")
    _check_text("the git commit", source.git_commit, _LONGEST_COMMIT)
    _check_text("the training run", source.training_run, _LONGEST_TEXT)
    _check_text("the URI of the data set", source.dataset_uri, _LONGEST_TEXT)
    check_gpu(announced.gpu)
    _check_text("the model-id that it was imported from", origin.model_id, _LONGEST_TEXT)
    _check_text("the user that it was imported from", origin.user, _LONGEST_USER)


def _check_entries(kind: str, entries: Mapping[str, str]) -> None:
    _check_keys(kind, entries)
    for key, text in entries.items():
        _check_text(f"{kind}: the value of {key!r}", text, _LONGEST_TEXT)


def _check_metrics(metrics: Mapping[str, float]) -> None:
    _check_keys("metrics", metrics)
    for key, number in metrics.items():
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
    if control := _CONTROL.search(text):
        # No database keeps a null character, and a terminal does what the others say.
        raise InvalidArgumentError(f"{what} holds the control character {control[0]!r}; leave it out")


def check_count(kind: str, count: int) -> None:
    """Of metrics, parameters or tags: InvalidArgumentError for more than MOST_ENTRIES."""
    if count > MOST_ENTRIES:
        raise InvalidArgumentError(f"there are {count} {kind}; {MOST_ENTRIES} is the most")


def _check_keys(kind: str, entries: Mapping[str, object]) -> None:
    check_count(kind, len(entries))
    for key in entries:
        if not 0 < len(key) <= _LONGEST_KEY or not key.isprintable():
            raise InvalidArgumentError(
                f"{kind}: {key[:_LONGEST_KEY]!r} cannot be a key; use 1 to {_LONGEST_KEY} printable characters"
            )
