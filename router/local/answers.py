"""Pure: what the route table says to requests that no replica gets."""

import difflib
from collections.abc import Iterable, Sequence
from urllib.parse import quote, unquote

from tritonclient.grpc import service_pb2

from modelyard.errors import InvalidArgumentError, NotFoundError, UnavailableError, YardError
from router.table import Route, Table

_MAX_NAMES = 8
_MAX_KEY_CHARACTERS = 220
NO_TABLE = UnavailableError("this router has not heard from its controller yet: it knows no models; try again later")


def parse_key(values: Sequence[str]) -> str:
    """The key that the headers x-model name, as a person would write it; "" where there is none.

    Raises InvalidArgumentError for what neither a name nor the filters that find names in messages make: those escape
    every byte that no name has, and nothing else.
    """
    if len(values) > 1:
        raise InvalidArgumentError(f"the header x-model is there {len(values)} times: send it once")
    given = "".join(values)
    key = unquote(given, errors="surrogateescape")
    if quote(key, safe="@._-", errors="surrogateescape").replace("~", "%7E") != given:
        shown = given[:_MAX_KEY_CHARACTERS]
        raise InvalidArgumentError(f"the header x-model is {shown!r}: wanted NAME or NAME@VERSION, as they are")
    return key


def find_refusal(table: Table | None, key: str) -> YardError:
    """Why a request for `key` ("resnet", "resnet@3") is not served."""
    key = key[:_MAX_KEY_CHARACTERS]  # the longest that can be served is shorter
    model, at, version = key.partition("@")
    if not model:
        return InvalidArgumentError(f"the request names no model: set model_name; {_describe_served(table)}")
    if table is None:
        return NO_TABLE
    if route := next((route for route in table.routes if route.key == key), None):
        return UnavailableError(route.reason or f"model {key} is not ready yet; try again")
    siblings = [route.key for route in table.routes if route.model == model and route.pool]
    if at and siblings:
        return NotFoundError(f"model {model!r} is not served as {version!r}; it is served as {_enumerate(siblings)}")
    return NotFoundError(f"no model {key!r} is served here; {_describe_near(table, key)}")


def list_repository(table: Table, *, only_ready: bool) -> service_pb2.RepositoryIndexResponse:
    """A row for each version of a model that a route names, the best state of its routes."""
    rows: dict[tuple[str, int], Route] = {}
    for route in table.routes:
        present = rows.get((route.model, route.version))
        if present is None or present.pool is None:
            rows[route.model, route.version] = route
    models = (_make_row(route) for _, route in sorted(rows.items()) if route.pool or not only_ready)
    return service_pb2.RepositoryIndexResponse(models=models)


def _make_row(route: Route) -> service_pb2.RepositoryIndexResponse.ModelIndex:
    return service_pb2.RepositoryIndexResponse.ModelIndex(
        name=route.model,
        version=str(route.version) if route.version else "",
        state="READY" if route.pool else "UNAVAILABLE",
        reason="" if route.pool else route.reason,
    )


def _describe_near(table: Table, key: str) -> str:
    near = difflib.get_close_matches(key, [route.key for route in table.routes if route.pool], n=3)
    return f"did you mean {_enumerate(near)}?" if near else _describe_served(table)


def _describe_served(table: Table | None) -> str:
    names = sorted({route.model for route in table.routes}) if table else []
    return f"served are {_enumerate(names)}" if names else "nothing is deployed: `modelyard deploy NAME` does that"


def _enumerate(names: Iterable[str]) -> str:
    shown = sorted(names)
    more = f" and {len(shown) - _MAX_NAMES} more" if len(shown) > _MAX_NAMES else ""
    return ", ".join(shown[:_MAX_NAMES]) + more
