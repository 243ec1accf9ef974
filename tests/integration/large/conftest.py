"""The stores' places, for files so large that nothing else should run meanwhile."""

from tests.integration.stores.conftest import place, s3, shared_hdfs, shared_s3

__all__ = ["place", "s3", "shared_hdfs", "shared_s3"]
