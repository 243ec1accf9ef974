"""A yard that serves `scale`, for clients of other makers."""

from collections.abc import Iterator

import pytest

from tests.harness.models import write_scale_model
from tests.harness.yard import Yard


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    folder = tmp_path_factory.mktemp("yard")
    running = Yard(folder)
    running.register("scale", write_scale_model(folder / "scale.onnx", 2.0))
    running.set_alias("scale", "production", 1)
    running.deploy("scale")
    running.wait_serving("scale", version=1, replicas=1)
    yield running
    running.close()
