"""What OpenVINO says, in our words."""

import re

from modelyard.errors import InternalError, InvalidArgumentError, ResourceExhaustedError, UnavailableError, YardError

_PLACES = re.compile(
    r"Exception from \S+:\d+:\s*|Check '.*?' failed at \S+:\d+:\s*|Caught exception:\s*"
    r"|FrontEnd API failed with \w+:\s*|To facilitate the conversion of unsupported operations,.*$"
)
_OPERATOR = re.compile(r"While validating node '.*?' with friendly_name")
_NO_MEMORY = re.compile(r"bad_alloc|[Aa]llocate|out of memory")


def stopped() -> UnavailableError:
    return UnavailableError("the replica was stopped before it had finished; send the request again")


def domain_error(error: Exception) -> YardError:
    """Of what OpenVINO raised during an inference."""
    text = str(error)
    if "Infer Request was canceled" in text:
        return stopped()
    if isinstance(error, MemoryError) or _NO_MEMORY.search(text):
        return ResourceExhaustedError(f"not enough memory for this request: {shorten(text)}")
    if isinstance(error, RuntimeError):
        return InvalidArgumentError(f"the model cannot compute these inputs: {shorten(text)}")
    return InternalError(f"OpenVINO failed: {shorten(text)}")


def shorten(text: str, limit: int = 300) -> str:
    """An error text of OpenVINO without the places in its source files."""
    line = _OPERATOR.sub("operator", _PLACES.sub("", " ".join(text.split()))).strip()
    return line if len(line) <= limit else line[: limit - 3] + "..."
