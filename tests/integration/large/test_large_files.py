"""A model of 1 GB goes into each store and back through a real controller, whose memory stays bounded."""

from pathlib import Path

import pytest

from benchmarks.artifact_stores import GOAL_MIB, MIB, measure, sha256_of, write_model
from tests.integration.stores.conftest import Place


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("large") / "model.onnx"
    write_model(file, 1024 * MIB)
    return file


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("place", ["local", "s3", "hdfs"], indirect=True)
def test_a_gigabyte_takes_no_more_memory_than_a_few_chunks(place: Place, model: Path, tmp_path: Path) -> None:
    sha256 = sha256_of(model)
    figures = measure("it", place.url, model, sha256, tmp_path / "controller")  # compares what it reads
    assert place.list_files()[place.path_of(sha256)] == model.stat().st_size
    assert figures.memory_mib < GOAL_MIB
