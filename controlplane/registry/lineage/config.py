"""Where the lineage store is: beside the yard's own database, on the same kind, save where a URL says otherwise."""

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import exc

from modelyard.errors import InvalidArgumentError


@dataclass(frozen=True)
class SqliteFile:
    path: Path


@dataclass(frozen=True)
class PostgresDatabase:
    """`parameters`: libpq's, by its own names; host or hostaddr, port, user and dbname are always there."""

    parameters: Mapping[str, str] = field(repr=False)  # one is the password


LineageConfig = SqliteFile | PostgresDatabase

# Of what may stand in the URL, what the library's own libpq knows; the rest is for the yard's own connections.
_PASSED_ON = {
    "host", "hostaddr", "port", "user", "password", "passfile", "dbname",
    "sslmode", "connect_timeout", "options", "target_session_attrs", "tcp_user_timeout",
    "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
}  # fmt: skip
# A server that is gone must not hold up the recorder, and so the controller's end, for minutes.
_DEFAULTS = {"port": "5432", "connect_timeout": "10", "tcp_user_timeout": "30000"}
_TLS_ALONE = {"require", "verify-ca", "verify-full"}


def lineage_config(lineage_url: str, database_url: str, data_folder: Path) -> LineageConfig:
    """At `lineage_url`; "": on the same kind as the yard's database at `database_url`, which is SQLite where it is "".

    SQLite's file is the one that `lineage_url` names, else lineage.db in `data_folder`.

    Raises InvalidArgumentError where ML Metadata cannot use such a database; the sentence tells what to change.
    """
    url = _parse(lineage_url or database_url or "sqlite://", "lineage" if lineage_url else "database")
    if url.get_backend_name() == "sqlite":
        return SqliteFile(_sqlite_path(url) if lineage_url and url.database else data_folder / "lineage.db")
    if url.get_backend_name() != "postgresql":
        raise InvalidArgumentError(
            f"the lineage store cannot be in a database of the kind {url.get_backend_name()}; use SQLite or PostgreSQL"
        )
    return PostgresDatabase(_libpq_parameters(url))


def _parse(url: str, what: str) -> sa.URL:
    try:
        return sa.make_url(url)
    except exc.ArgumentError as error:
        raise InvalidArgumentError(f"the {what} URL cannot be read ({error}); use postgresql+psycopg://...") from error


def _sqlite_path(url: sa.URL) -> Path:
    if not url.database or url.database.startswith((":memory:", "file:")):
        raise InvalidArgumentError(
            f"the lineage URL {url} names no file: use sqlite:///FILE, or sqlite:// for the one in --data"
        )
    return Path(url.database).absolute()


def _libpq_parameters(url: sa.URL) -> Mapping[str, str]:
    # Those of the yard's own driver: several hosts and percent signs are settled by then.
    given = url.get_dialect()().create_connect_args(url)[1]
    found = {key: str(value) for key, value in given.items() if key in _PASSED_ON and value not in (None, "")}
    parameters = {**_DEFAULTS, "user": os.environ.get("PGUSER") or getpass.getuser(), **found}
    if host := os.environ.get("PGHOST"):
        parameters.setdefault("host", host)
    parameters.setdefault("dbname", parameters["user"])
    _refuse(url, parameters)
    return parameters


def _refuse(url: sa.URL, parameters: Mapping[str, str]) -> None:
    shown = url.render_as_string(hide_password=True)
    if not parameters.keys() & {"host", "hostaddr"}:
        raise InvalidArgumentError(
            f"the database URL {shown} names no host, and ML Metadata needs one: use "
            "postgresql+psycopg://USER@HOST/NAME, or end it with ?host=FOLDER, the one of the server's unix socket"
        )
    if parameters.get("sslmode") in _TLS_ALONE:
        raise InvalidArgumentError(
            f"the lineage store cannot be in {shown}: ML Metadata's PostgreSQL client has no TLS, "
            f"which sslmode={parameters['sslmode']} asks for; reach the server by a unix socket, by a private network "
            "with sslmode=prefer or by a tunnel, or keep the lineage elsewhere: --lineage-url sqlite://"
        )
