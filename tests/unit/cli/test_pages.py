"""What commands tell of lists that come in more than one page, or of which an answer has only the first."""

from types import SimpleNamespace
from typing import Any

import pytest

from modelyard.cli import purge, show
from modelyard.v1 import registry_pb2 as pb
from modelyard.v1.resources_pb2 import Version, VersionChange


def test_changes_are_read_to_the_last_page() -> None:
    def answer(request: Any) -> Any:
        first = int(request.page_token or 1)
        following = str(first + 2) if first < 5 else ""
        changes = [VersionChange(revision=first), VersionChange(revision=first + 1)]
        return pb.ListVersionChangesResponse(changes=changes, next_page_token=following)

    yard: Any = SimpleNamespace(registry=SimpleNamespace(ListVersionChanges=answer))
    found = show.list_changes(yard, "models/resnet/versions/1")
    assert [change.revision for change in found] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("count", "sentence"), [(0, "2 versions with"), (2, "2 versions with"), (5, "5 versions with")]
)
def test_a_purge_counts_all_versions(count: int, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """0: an answer of a controller that does not count them."""
    versions = [Version(model_id=f"resnet@{number}") for number in (1, 2)]
    purge._print(pb.PurgeVersionsResponse(versions=versions, removed_files=1, version_count=count), is_dry_run=True)
    printed = capsys.readouterr().out
    assert sentence in printed
    assert ("and 3 more\n" in printed) == (count == 5)
