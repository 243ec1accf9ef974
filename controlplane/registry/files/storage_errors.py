"""What an error of a disk or a remote store means to the person who registers or fetches a file."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from modelyard.errors import FailedPreconditionError, ResourceExhaustedError, UnavailableError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# HDFS and S3 tell it in words only.
_SAYS_FULL = re.compile(r"quota|insufficient ?(storage|capacity)|no space left|storage ?full", re.IGNORECASE)
# Libraries whose errors are no OSError. hdfs-native raises RuntimeError itself.
_LIBRARIES = ("botocore", "aiobotocore", "aiohttp", "s3fs", "fsspec", "urllib3")


@contextmanager
def storage_errors_explained(path: object, *, passing: tuple[type[OSError], ...] = ()) -> Iterator[None]:
    """Turns an error of a disk or a store in the block into one that names `path` and says what to do.

    ResourceExhaustedError where it is full, FailedPreconditionError where the controller has no access, else
    UnavailableError. Those of `passing` are left as they are.
    """
    try:
        yield
    except passing:
        raise
    except (OSError, RuntimeError) as error:
        # RuntimeError has offspring that is no storage's: NotImplementedError, RecursionError.
        if isinstance(error, RuntimeError) and type(error) is not RuntimeError:
            raise
        raise _explain(path, error) from error
    except Exception as error:
        if not type(error).__module__.startswith(_LIBRARIES):
            raise
        raise _explain(path, error) from error


def _explain(path: object, error: Exception) -> Exception:
    # The first line: HDFS sends its stack along.
    reason = getattr(error, "strerror", None) or (str(error) or type(error).__name__).splitlines()[0][:300]
    if getattr(error, "errno", None) in _FULL or _SAYS_FULL.search(str(error)):
        return ResourceExhaustedError(f"no room for {path} ({reason}); free some and register the file again")
    if isinstance(error, PermissionError) or "NoCredentials" in type(error).__name__:
        return FailedPreconditionError(
            f"the controller has no access to {path} ({reason}); give it the rights, or the credentials in its "
            "environment"
        )
    return UnavailableError(f"{path} cannot be used ({reason}); mend the storage and try again")
