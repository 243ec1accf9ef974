"""The one import of ML Metadata: the yard's own modules for it take the library from here."""

import os

# Its C++ part logs to standard error, every connection among it; its errors come back as exceptions, too.
os.environ.setdefault("GLOG_minloglevel", "2")

from ml_metadata import errors
from ml_metadata.metadata_store import ListOptions, MetadataStore
from ml_metadata.proto import metadata_store_pb2 as pb

__all__ = ["ListOptions", "MetadataStore", "errors", "pb"]
