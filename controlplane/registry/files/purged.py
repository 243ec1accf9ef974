"""What a purge tells of what it did."""

from dataclasses import dataclass

from controlplane.domain import Version
from controlplane.registry.files.artifacts import StoredFile
from controlplane.registry.page_bytes import PAGE_BYTES, count_bytes

# As many as on a page of a list.
_MOST_TOLD = 1_000


@dataclass(frozen=True)
class Purged:
    """`versions`: the first of the `version_count`, for they are told of in one message."""

    versions: tuple[Version, ...]
    removed_files: int
    removed_bytes: int
    version_count: int = 0


class PurgedSoFar:
    """Counts as it goes: all that was ever deleted may be more than fits into memory."""

    def __init__(self) -> None:
        self._first: list[Version] = []
        self._first_bytes = 0
        self._count = 0
        self._files = 0
        self._file_bytes = 0

    def add(self, version: Version) -> None:
        self._count += 1
        self._first_bytes += count_bytes(version)
        has_room = len(self._first) < _MOST_TOLD and self._first_bytes <= PAGE_BYTES
        if has_room or not self._first:
            self._first.append(version)

    def add_file(self, file: StoredFile) -> None:
        """One that went, or would go."""
        self._files += 1
        self._file_bytes += file.size_bytes

    def finish(self) -> Purged:
        return Purged(tuple(self._first), self._files, self._file_bytes, self._count)
