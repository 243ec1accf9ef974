"""What a request is for: the one model, by version or alias, that a caller named."""

from __future__ import annotations

from typing import Any, NamedTuple

from modelyard.errors import InvalidArgumentError
from modelyard.resource_names import check_alias_name, check_model_name, parse_model_id


class Target(NamedTuple):
    """What a request is for. `version` is a number, an alias, or empty for production."""

    model: str
    version: str = ""

    @property
    def key(self) -> str:
        """What the router's table of routes calls it: "resnet" or "resnet@3"."""
        return f"{self.model}@{self.version}" if self.version else self.model

    @property
    def number(self) -> str:
        """The version as any model server knows it; "" for an alias, which only a router knows."""
        return self.version if self.version.isdigit() else ""


def make_headers(target: Target | None) -> list[tuple[str, str]]:
    """`x-model` names what the request is for, so that a router need not read the body to know."""
    return [("x-model", target.key)] if target else []


def resolve_target(
    model: str | None = None, *, alias: str | None = None, version: int | str | None = None, model_id: str | None = None
) -> Target:
    """The one thing that the caller named. Raises InvalidArgumentError where that is nothing, or two things."""
    if model_id is not None:
        _check_string("model_id", model_id)
        if alias is not None or version is not None or model not in (None, model_id.partition("@")[0]):
            raise InvalidArgumentError(f"model_id={model_id!r} names a version: give no other name, alias or version")
        parsed = parse_model_id(model_id)
        return Target(parsed.model, str(parsed.number))
    if model is None:
        raise InvalidArgumentError('name the model: infer("resnet", ...) or infer(model_id="resnet@3", ...)')
    if alias is not None and version is not None:
        raise InvalidArgumentError(f"alias={alias!r} and version={version!r} are two things: give one of them")
    _check_string("model", model)
    name, at, part = model.partition("@")
    if at and (alias is not None or version is not None):
        raise InvalidArgumentError(f"{model!r} names a version or an alias already: give no alias or version with it")
    return Target(check_model_name(name), _check_part(part if at else None, alias, version))


def resolve_optional_target(model: str | None = None, **parts: Any) -> Target | None:
    """`resolve_target`; None where nothing is named."""
    if model is None and all(part is None for part in parts.values()):
        return None
    return resolve_target(model, **parts)


def _check_string(option: str, name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"{option} must be a string, not {name!r}")


def _check_part(part: str | None, alias: str | None, version: int | str | None) -> str:
    if alias is not None:
        _check_string("alias", alias)
        return check_alias_name(alias)
    named = str(version) if version is not None else part
    if named is None:
        return ""
    if version is not None and not (named.isascii() and named.isdigit() and named.strip("0")):
        raise InvalidArgumentError(f"version={version!r} is no number from 1 up; an alias goes in alias=")
    return named if named.isascii() and named.isdigit() else check_alias_name(named)
