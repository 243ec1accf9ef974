"""Where a yard keeps what must last: in its data folder, save for what a URL puts elsewhere."""

from pathlib import Path


def locate_database(data: Path, url: str) -> str:
    """A SQLAlchemy URL; that of the SQLite file in `data` where `url` is empty."""
    return url or f"sqlite:///{(data / 'yard.db').absolute()}"


def locate_artifacts(data: Path, url: str) -> str:
    """A folder or fsspec URL; the folder in `data` where `url` is empty."""
    return url or str((data / "artifacts").absolute())
