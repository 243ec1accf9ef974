"""Opens what fsspec can reach, with options that make a dead store fail soon and a cache never lie."""

from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from modelyard.errors import FailedPreconditionError, InvalidArgumentError

# A name node that is down is found out in a second or two; by default after more than 40.
_HDFS_OPTIONS = {
    "dfs.client.failover.max.attempts": "1",
    "dfs.client.failover.sleep.base.millis": "50",
    "ipc.client.connect.max.retries": "1",
}
# Putting the parts of a large upload together takes S3 its time.
_S3_OPTIONS = {"config_kwargs": {"connect_timeout": 5, "read_timeout": 90, "retries": {"max_attempts": 2}}}
_S3_RETRIES = 2
# They show what is in a file, or in another file system.
_OVER_OTHERS = {
    "zip", "tar", "libarchive", "dir", "data", "reference", "generic", "cached", "blockcache", "filecache",
    "simplecache", "asynclocal", "asyncwrapper",
}  # fmt: skip
WEB = ("http", "https")
_REDIRECTS = (301, 302, 303, 307, 308)
_EXTRAS = {"hdfs": "hdfs", "viewfs": "hdfs", "s3": "s3", "s3a": "s3"}


def open_file_system(url: str, *, follow_redirects: bool = True) -> tuple[Any, str]:
    """The fsspec file system of a URL or of a path of this machine, not shared with anybody, and the path on it.

    `follow_redirects`: False where a web server may not lead elsewhere.

    InvalidArgumentError for a scheme that nothing knows, FailedPreconditionError where its package is not installed.
    """
    scheme = scheme_of(url)
    if scheme in _OVER_OTHERS:
        raise InvalidArgumentError(f"{scheme}:// is no place by itself; name the file, an archive as it is")
    if "::" in url:
        raise InvalidArgumentError(f"{url[:300]!r} chains file systems, which is not done here; name the file itself")
    try:
        if scheme in ("hdfs", "viewfs"):
            return _open_hdfs(scheme, url)
        options = _options_of(scheme, follow_redirects)
        fs, path = fsspec.url_to_fs(url, use_listings_cache=False, skip_instance_cache=True, **options)
    except ImportError as error:
        raise _explain_missing(scheme, error) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidArgumentError(f"{url[:300]!r} cannot be opened: {error}") from error
    if scheme in ("s3", "s3a"):
        fs.retries = _S3_RETRIES
    return fs, str(path)


def is_local(fs: Any) -> bool:
    return isinstance(fs, LocalFileSystem)


def scheme_of(url: str) -> str:
    """In lower case; "" for a path."""
    scheme, mark, _ = url.partition("://")
    return scheme.lower() if mark else ""


def _options_of(scheme: str, follow_redirects: bool) -> dict[str, Any]:
    if scheme in WEB:
        from aiohttp import ClientTimeout

        # By default the whole of a file must come within five minutes.
        client: dict[str, Any] = {"timeout": ClientTimeout(total=None, sock_connect=10, sock_read=60)}
        if follow_redirects:
            return {"client_kwargs": client}
        return {"client_kwargs": {**client, "raise_for_status": _refuse_redirect}, "allow_redirects": False}
    return _S3_OPTIONS if scheme in ("s3", "s3a") else {}


async def _refuse_redirect(response: Any) -> None:
    if response.status in _REDIRECTS:
        raise InvalidArgumentError(
            f"{str(response.url)[:300]!r} leads elsewhere (HTTP {response.status}), and this controller may not read "
            "everywhere; name the file's own place"
        )


def _open_hdfs(scheme: str, url: str) -> tuple[Any, str]:
    # By name: without hdfs-native fsspec takes pyarrow's, which needs a whole Hadoop and a Java beside it.
    from hdfs_native import fsspec as native

    kind = native.HdfsFileSystem if scheme == "hdfs" else native.ViewfsFileSystem
    try:
        fs = kind(**kind._get_kwargs_from_urls(url), skip_instance_cache=True, **_HDFS_OPTIONS)
    except (RuntimeError, OSError) as error:
        raise InvalidArgumentError(
            f"{url[:300]!r} cannot be opened: {error}; name the host, or set HADOOP_CONF_DIR"
        ) from error
    return fs, str(kind._strip_protocol(url))


def _explain_missing(scheme: str, error: ImportError) -> FailedPreconditionError:
    extra = _EXTRAS.get(scheme)
    install = f"pip install 'modelyard[{extra}]'" if extra else f"install the package that is named here: {error}"
    return FailedPreconditionError(f"the controller's environment lacks what {scheme}:// needs; {install}")
