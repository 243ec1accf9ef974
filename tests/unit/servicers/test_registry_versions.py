"""What a change of a version may cost before it is refused."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from controlplane.registry.announcement import MOST_ENTRIES
from controlplane.servicers.registry_versions import VersionMethods
from modelyard.errors import InvalidArgumentError
from modelyard.v1 import registry_pb2 as pb


class Counted:
    """More entries than are ever taken, which may be counted only."""

    def __len__(self) -> int:
        return MOST_ENTRIES + 1

    def __iter__(self) -> Any:
        pytest.fail("the entries were copied")

    keys = __iter__


@pytest.mark.parametrize(
    ("field", "kind"), [("set_tags", "tags"), ("remove_tags", "removed tags"), ("add_metrics", "metrics")]
)
async def test_too_many_entries_of_a_change_are_refused_before_they_are_copied(field: str, kind: str) -> None:
    empty = pb.UpdateVersionRequest(name="models/resnet/versions/1")
    fields = ("name", "user", "reason", "description", "set_tags", "remove_tags", "add_metrics")
    request: Any = SimpleNamespace(**{name: getattr(empty, name) for name in fields}, HasField=empty.HasField)
    setattr(request, field, Counted())
    registry: Any = SimpleNamespace(store=None)
    servicer = VersionMethods(registry, now=lambda: datetime(2026, 1, 1, tzinfo=UTC), on_change=lambda: None)
    with pytest.raises(InvalidArgumentError, match=f"there are {MOST_ENTRIES + 1} {kind}"):
        await servicer.UpdateVersion(request, None)
