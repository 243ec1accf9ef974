"""What made a tritonserver end, by the last of what it said. Pure."""

import re
from collections.abc import Callable

Explain = Callable[["re.Match[str]"], str]
_MOST_CHARACTERS = 400
# Triton quotes what it says into its log, and puts where it came from before that.
_LOG_PREFIX = re.compile(r"^\d{4}-\d\d-\d\dT\S+ [A-Z] \d+ \S+ ", re.MULTILINE)
_PYTHON_PLACES = re.compile(r"\s+At:(?:\s+[^\n]+\(\d+\): \S+)+")

# The first that is found counts: the causes before what follows from them.
_CAUSES: tuple[tuple[str, Explain], ...] = (
    (
        r"error while loading shared libraries: ([^:\s]+)",
        lambda found: f"Triton needs {found[1]}, which is not here: install it, or set LD_LIBRARY_PATH for the agent",
    ),
    (
        r"container name \"/?([^\"]+)\" is already in use",
        lambda found: (
            f"a container {found[1]} is left from before: remove it (docker rm --force {found[1]}), or let "
            "--triton-command do so; docs/triton.md"
        ),
    ),
    (
        r"Socket '([^']+)' already in use",
        lambda found: f"another program took {found[1]} before Triton could listen on it; the next try takes another",
    ),
    (
        r"unable to find backend library for backend '([^']+)'",
        lambda found: f"this Triton has no {found[1]} backend: install it, or name another --triton-backends",
    ),
    (
        r"(?:CUDA out of memory|out of memory|CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation)",
        lambda _: "the GPU has not enough memory for this model: deploy it with a larger share, or more GPU memory",
    ),
    (
        r"((?:CUDA|cuda|cuDNN|CUBLAS)[^\n\"]{0,60}(?:error|failure|failed)[^\n\"]{0,200})",
        lambda found: f"the GPU failed: {_shorten(found[1])}",
    ),
    (
        r"Poll failed for model directory '[^']+': ([^\n]+)",
        lambda found: f"Triton cannot read the config.pbtxt that it was given: {_shorten(found[1])}",
    ),
    (
        r"failed to load '[^'\n]+' version \d+: ([^\n]+)",
        # Newer releases put a line's end as two characters into their log.
        lambda found: f"Triton cannot load the model: {_shorten(found[1].replace(chr(92) + 'n', chr(10)))}",
    ),
    (r"error: creating server: ([^\n]+)", lambda found: f"Triton does not start: {_shorten(found[1])}"),
)


def explain_triton_exit(log_tail: str) -> str:
    """A sentence; "" where its log tells nothing that is known."""
    said = _LOG_PREFIX.sub("", log_tail)
    for pattern, explain in _CAUSES:
        if found := re.search(pattern, said):
            return explain(found)
    return ""


def _shorten(text: str) -> str:
    line = " ".join(_PYTHON_PLACES.sub("", text).split()).strip(' ;"')
    return line if len(line) <= _MOST_CHARACTERS else f"{line[: _MOST_CHARACTERS - 3]}..."
