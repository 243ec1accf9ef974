"""A yard for the tests of one file."""

from collections.abc import Iterator

import pytest

from tests.harness.yard import Yard


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    running = Yard(tmp_path_factory.mktemp("yard"))
    yield running
    running.close()
