"""What an inference is on the wire, for the sync and the asyncio client: names, request bytes, reply arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tritonclient.grpc import service_pb2

from modelyard import tensors
from modelyard.errors import InternalError, InvalidArgumentError
from modelyard.resource_names import check_alias_name, check_model_name, parse_model_id

# Field 7, length-delimited: raw_input_contents of ModelInferRequest.
_RAW_INPUT_TAG = bytes([7 << 3 | 2])
_TYPED_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


class Target(NamedTuple):
    """What a request is for. `version` is a number, an alias, or empty for production."""

    model: str
    version: str = ""

    @property
    def key(self) -> str:
        """What the router's table of routes calls it: "resnet" or "resnet@3"."""
        return f"{self.model}@{self.version}" if self.version else self.model


def make_methods(channel: Any) -> dict[str, Any]:
    """The calls that a client uses, by name. ModelInfer takes the request's bytes, the others their message."""
    methods = {"ModelInfer": _unary(channel, "ModelInfer", serializer=None)}
    for name in ("ServerReady", "ModelReady", "ModelMetadata", "RepositoryIndex"):
        request_type = getattr(service_pb2, f"{name}Request")
        methods[name] = _unary(channel, name, serializer=request_type.SerializeToString)
    return methods


def _unary(channel: Any, name: str, serializer: Any) -> Any:
    deserializer = getattr(service_pb2, f"{name}Response").FromString
    return channel.unary_unary(f"/inference.GRPCInferenceService/{name}", serializer, deserializer)


def make_headers(target: Target | None) -> list[tuple[str, str]]:
    """`x-model` names what the request is for, so that a router need not read the body to know."""
    return [("x-model", target.key)] if target else []


def resolve_target(
    model: str | None = None, *, alias: str | None = None, version: int | str | None = None, model_id: str | None = None
) -> Target:
    """The one thing that the caller named. Raises InvalidArgumentError where that is nothing, or two things."""
    if model_id is not None:
        if alias is not None or version is not None or model not in (None, model_id.partition("@")[0]):
            raise InvalidArgumentError(f"model_id={model_id!r} names a version: give no other name, alias or version")
        parsed = parse_model_id(model_id)
        return Target(parsed.model, str(parsed.number))
    if model is None:
        raise InvalidArgumentError('name the model: infer("resnet", ...) or infer(model_id="resnet@3", ...)')
    if alias is not None and version is not None:
        raise InvalidArgumentError(f"alias={alias!r} and version={version!r} are two things: give one of them")
    name, at, part = model.partition("@")
    if at and (alias is not None or version is not None):
        raise InvalidArgumentError(f"{model!r} names a version or an alias already: give no alias or version with it")
    return Target(check_model_name(name), _check_part(part if at else None, alias, version))


def _check_part(part: str | None, alias: str | None, version: int | str | None) -> str:
    if alias is not None:
        return check_alias_name(alias)
    named = str(version) if version is not None else part
    if named is None:
        return ""
    if version is not None and not (named.isascii() and named.isdigit() and int(named) > 0):
        raise InvalidArgumentError(f"version={version!r} is no number from 1 up; an alias goes in alias=")
    return named if named.isdigit() else check_alias_name(named)


def merge_inputs(inputs: Mapping[str, Any] | None, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """All inputs by name. Raises InvalidArgumentError where there are none, or one is given twice."""
    twice = sorted(set(inputs or ()) & set(keywords))
    if twice:
        raise InvalidArgumentError(f"input {twice[0]!r} is given twice: in inputs= and as a keyword")
    merged = {**(inputs or {}), **keywords}
    if not merged:
        raise InvalidArgumentError("give the model's inputs: infer(name, x=array) or infer(name, inputs={'x': array})")
    return merged


def needs_metadata(inputs: Mapping[str, Any]) -> bool:
    """True where an input is no array, so that only the model can tell its type."""
    return not all(isinstance(value, np.ndarray | np.generic) for value in inputs.values())


def as_arrays(inputs: Mapping[str, Any], datatypes: Mapping[str, str]) -> dict[str, tensors.Array]:
    """Arrays as they are; anything else converted to what `datatypes` (input name -> datatype) says.

    An array is never cast: its type is the caller's statement, and the server says so where it is the wrong one.
    """
    arrays: dict[str, tensors.Array] = {}
    for name, value in inputs.items():
        if isinstance(value, np.ndarray | np.generic):
            arrays[name] = np.asarray(value)
            continue
        if name not in datatypes:
            raise InvalidArgumentError(f"the model has no input {name!r}: its inputs are {', '.join(datatypes)}")
        try:
            arrays[name] = tensors.convert(value, datatypes[name])
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"input {name!r}: {error.message}") from error
    return arrays


def serialize_request(target: Target, inputs: Mapping[str, tensors.Array], outputs: Iterable[str] = ()) -> bytes:
    """The bytes of a ModelInferRequest.

    The tensors are put behind the small message by hand, as protobuf would: each is copied once, into the result, and
    not three times (into `bytes`, into the message, into its serialized form).
    """
    request = service_pb2.ModelInferRequest(model_name=target.model, model_version=target.version)
    parts: list[bytes | memoryview] = [b""]
    for name, array in inputs.items():
        try:
            request.inputs.add(name=name, datatype=tensors.datatype_of(array), shape=array.shape)
            raw = tensors.to_raw(array)
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"input {name!r}: {error.message}") from error
        parts += (_RAW_INPUT_TAG + _varint(len(raw)), raw)
    for name in outputs:
        request.outputs.add(name=name)
    parts[0] = request.SerializeToString()
    return b"".join(parts)


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the top bit says that more follow."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def parse_response(response: Any) -> dict[str, tensors.Array]:
    """Output name -> array, read-only where it is a view of the reply's bytes."""
    raw: Sequence[bytes] = response.raw_output_contents
    if raw and len(raw) != len(response.outputs):
        raise InternalError(f"the reply has {len(response.outputs)} outputs and {len(raw)} raw contents")
    return {
        output.name: tensors.from_raw(output.datatype, output.shape, raw[index]) if raw else _from_typed(output)
        for index, output in enumerate(response.outputs)
    }


def _from_typed(output: Any) -> tensors.Array:
    field = _TYPED_CONTENTS.get(output.datatype)
    if field is None:
        raise InternalError(f"output {output.name!r} of type {output.datatype} came without raw contents")
    return tensors.from_values(output.datatype, output.shape, getattr(output.contents, field))
