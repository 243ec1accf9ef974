"""What an inference is on the wire, for both clients: request bytes, reply arrays."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2

from modelyard import tensors
from modelyard._target import Target
from modelyard.datatypes import BY_NAME
from modelyard.errors import InternalError, InvalidArgumentError
from modelyard.varint import encode_varint

# Field 7, length-delimited: raw_input_contents of ModelInferRequest.
_RAW_INPUT_TAG = bytes([7 << 3 | 2])
# Of `infer`: any other keyword is an input.
_OPTIONS = ("alias", "version", "model_id", "inputs", "outputs", "timeout_s", "retries")
_ARRAYS = (np.ndarray, np.generic)


def merge_inputs(inputs: Mapping[str, Any] | None, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """All inputs by name. Raises InvalidArgumentError where there are none, or one is given twice."""
    if inputs is not None and not isinstance(inputs, Mapping):
        raise TypeError(f"inputs must be a dict, as in inputs={{'x': array}}, not {type(inputs).__name__}")
    merged = {**inputs, **keywords} if inputs else dict(keywords)
    if inputs and len(merged) < len(inputs) + len(keywords):
        twice = min(set(inputs) & set(keywords))
        raise InvalidArgumentError(f"input {twice!r} is given twice: in inputs= and as a keyword")
    if not merged:
        raise InvalidArgumentError("give the model's inputs: infer(name, x=array) or infer(name, inputs={'x': array})")
    return merged


def check_outputs(outputs: Sequence[str]) -> Sequence[str]:
    """The names themselves. Raises TypeError for a single name, whose letters would be taken for names."""
    if isinstance(outputs, str):
        raise TypeError(f"outputs must be a list of names, as in outputs=[{outputs!r}]")
    return outputs


def needs_metadata(inputs: Mapping[str, Any]) -> bool:
    """True where an input is no array, so that only the model can tell its type."""
    return not all(isinstance(value, _ARRAYS) for value in inputs.values())


def as_arrays(inputs: Mapping[str, Any], datatypes: Mapping[str, str]) -> dict[str, tensors.Array]:
    """Arrays as they are; anything else converted to what `datatypes` (input name -> datatype) says.

    An array is never cast: its type is the caller's statement, and the server says so where it is the wrong one.
    """
    arrays: dict[str, tensors.Array] = {}
    for name, value in inputs.items():
        if isinstance(value, _ARRAYS):
            arrays[name] = np.asarray(value)
            continue
        if name not in datatypes:
            raise InvalidArgumentError(_describe_unknown(name, datatypes))
        try:
            arrays[name] = tensors.convert(value, datatypes[name])
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"input {name!r}: {error.message}") from error
    return arrays


def _describe_unknown(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, _OPTIONS, n=1)
    hint = f"; did you mean the option {near[0]}?" if near else ""
    return f"the model has no input {name!r}: its inputs are {', '.join(known)}{hint}"


def serialize_request(target: Target, inputs: Mapping[str, tensors.Array], outputs: Iterable[str] = ()) -> bytes:
    """The bytes of a ModelInferRequest.

    The tensors are put behind the small message by hand, as protobuf would: each is copied once, into the result, and
    not three times (into `bytes`, into the message, into its serialized form).
    """
    request = service_pb2.ModelInferRequest(model_name=target.model, model_version=target.number)
    parts: list[bytes | memoryview] = [b""]
    for name, array in inputs.items():
        try:
            request.inputs.add(name=name, datatype=tensors.datatype_of(array), shape=array.shape)
            raw = tensors.to_raw(array)
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"input {name!r}: {error.message}") from error
        parts += (_RAW_INPUT_TAG + encode_varint(len(raw)), raw)
    for name in outputs:
        request.outputs.add(name=name)
    parts[0] = request.SerializeToString()
    return b"".join(parts)


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
    datatype = BY_NAME.get(output.datatype)
    if datatype is None or datatype.contents is None:
        raise InternalError(f"output {output.name!r} of type {output.datatype} came without raw contents")
    return tensors.from_values(output.datatype, output.shape, getattr(output.contents, datatype.contents))
