"""What the methods of RegistryService share."""

from collections.abc import Callable

from controlplane.clock import Clock
from controlplane.domain import Author
from controlplane.registry.announcement import check_reason, check_user
from controlplane.registry.opening import Registry
from modelyard.errors import InvalidArgumentError

_PAGE_SIZE = 100
_LARGEST_PAGE = 1000


class RegistryMethods:
    """`on_change` is called after each change of an alias, in the event loop."""

    def __init__(self, registry: Registry, *, now: Clock, on_change: Callable[[], None]) -> None:
        self._registry = registry
        self._store = registry.store
        self._now = now
        self._on_change = on_change

    def _author(self, user: str, reason: str) -> Author:
        """InvalidArgumentError for a user or a reason that is too long."""
        check_user(user)
        check_reason(reason)
        return Author(self._now(), user, reason)


def page_size(wanted: int) -> int:
    """InvalidArgumentError for a negative one."""
    if wanted < 0:
        raise InvalidArgumentError(f"page_size is {wanted}; wanted 1 to {_LARGEST_PAGE}, or 0 for {_PAGE_SIZE}")
    return min(wanted, _LARGEST_PAGE) or _PAGE_SIZE
