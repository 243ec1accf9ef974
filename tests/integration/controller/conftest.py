"""A controller for each test: quick to call things lost, so that tests need not wait. Or one for a module."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.integration.controller.yard import ControllerUnderTest, Stubs


@pytest.fixture
async def controller(tmp_path: Path) -> AsyncIterator[ControllerUnderTest]:
    under_test = ControllerUnderTest(
        tmp_path, "--node-lost-after-s", "1.5", "--router-lost-after-s", "1", "--startup-grace-s", "0.5"
    )
    await under_test.start()
    yield under_test
    under_test.program.kill()


@pytest.fixture
async def patient(tmp_path: Path) -> AsyncIterator[ControllerUnderTest]:
    """With the times that it has where nobody gives others."""
    under_test = ControllerUnderTest(tmp_path)
    await under_test.start()
    yield under_test
    under_test.program.kill()


@pytest.fixture
async def yard(controller: ControllerUnderTest) -> AsyncIterator[Stubs]:
    async with controller.connect() as stubs:
        yield stubs


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControllerUnderTest]:
    """For tests that leave it as they found it."""
    under_test = ControllerUnderTest(tmp_path_factory.mktemp("controller"))
    under_test.program.start()
    yield under_test
    under_test.program.kill()
