"""What an error of a disk or an object store means to the person who registers or fetches a file."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from modelyard.errors import ResourceExhaustedError, UnavailableError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def storage_errors_explained(path: object) -> Iterator[None]:
    """Turns an OSError in the block into ResourceExhaustedError or UnavailableError that names `path`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        if error.errno in _FULL:
            raise ResourceExhaustedError(
                f"no room for {path} ({reason}); free some and register the file again"
            ) from error
        raise UnavailableError(f"{path} cannot be used ({reason}); mend the storage and try again") from error
