"""A real S3 endpoint of its own, moto's server on a free port: nothing of it is left afterwards."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]

from tests.harness.programs import wait_for

_START_TIMEOUT_S = 60.0
BUCKET = "models"
# So few that a test sees several of them, where Amazon has 1,000.
PAGE_KEYS = 4


def endpoint(address: str) -> dict[str, str]:
    """What a program's environment needs, so that it takes this address for Amazon's."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "yard",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
    }


class S3:
    """`url` is that of its one bucket; `environment` is what a program needs to reach it."""

    url = f"s3://{BUCKET}"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}

    def start(self) -> None:
        """Returns once the bucket is there."""
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | {"MOTO_S3_DEFAULT_MAX_KEYS": str(PAGE_KEYS)},
            )
        address = wait_for(self._find_address, "the S3 endpoint", _START_TIMEOUT_S)
        self.environment = endpoint(address)
        self.client.create_bucket(Bucket=BUCKET)

    @property
    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="yard",
            aws_secret_access_key="secret",
            region_name="us-east-1",
        )

    def list_files(self) -> dict[str, int]:
        """The size of each object, by its key."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", [])}

    def count_listings(self) -> int:
        """How many pages of names it was asked for so far."""
        return (self._folder / "log").read_text().count("?list-type=2")

    def overwrite(self, key: str, content: bytes) -> None:
        """Damages a file."""
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content)

    def pause(self) -> None:
        """It takes connections, and says nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL: all that it held is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _find_address(self) -> str:
        found = re.search(r"Running on (http://127\.0\.0\.1:\d+)", (self._folder / "log").read_text())
        return found[1] if found else ""


@contextmanager
def running_s3() -> Iterator[S3]:
    with tempfile.TemporaryDirectory(prefix="modelyard-s3-") as folder:
        s3 = S3(Path(folder))
        try:
            s3.start()
            yield s3
        finally:
            s3.kill()
