"""KServe v2 messages to arrays and back. Pure: a wrong request is an InvalidArgumentError that says where."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from modelyard.errors import InvalidArgumentError, ResourceExhaustedError, UnimplementedError
from modelyard.tensors import Array
from nodeagent.modelserver.signature import Signature, TensorSpec
from nodeagent.modelserver.tensors import array_from_contents, array_from_raw, raw_from_array
from nodeagent.modelserver.wire import Buffer

_MAX_ELEMENTS = 2**48  # below this no product of a size and an item size can overflow anywhere
_MAX_RANK = 32  # numpy 1 takes no more

# Parameters that would change what the answer means. All others may be left unread.
_REFUSED = {
    "sequence_id": "sequences are not kept here: send the state as a tensor",
    "shared_memory_region": "shared memory is not offered: send the tensor in the request",
    "shared_memory_byte_size": "shared memory is not offered: send the tensor in the request",
    "shared_memory_offset": "shared memory is not offered: send the tensor in the request",
    "classification": "class labels are not offered: take the largest values of the tensor",
}


@dataclass(frozen=True)
class Inference:
    """What a request asks for: `output_names` in the order of the answer, `feeds` by input name."""

    output_names: list[str]
    feeds: dict[str, Array]


class TensorLayout(NamedTuple):
    """An input as it was found to be right; `size`: the product of `shape`."""

    spec: TensorSpec
    shape: tuple[int, ...]
    size: int


@dataclass(frozen=True)
class Layout:
    """What a request with raw contents was found to be, these aside; the tensors in their order."""

    output_names: list[str]
    tensors: tuple[TensorLayout, ...]


def layout_of(signature: Signature, request: Any, inference: Inference) -> Layout:
    """Of a request that is right and has raw contents."""
    shapes = [(signature.input_by_name[tensor.name], tuple(tensor.shape)) for tensor in request.inputs]
    return Layout(inference.output_names, tuple(TensorLayout(spec, shape, math.prod(shape)) for spec, shape in shapes))


def inference_from_layout(layout: Layout, raws: Sequence[Buffer]) -> Inference:
    """The same as `inference_from_request` for as many raw contents. Raises InvalidArgumentError."""
    feeds: dict[str, Array] = {}
    for (spec, shape, size), raw in zip(layout.tensors, raws, strict=True):
        try:
            feeds[spec.name] = array_from_raw(spec.datatype, shape, size, raw)
        except ValueError as error:
            raise _wrong(spec, str(error)) from error
    return Inference(layout.output_names, feeds)


def inference_from_request(
    signature: Signature, request: Any, raws: Sequence[Buffer], max_string_elements: int
) -> Inference:
    """`raws`: the raw contents of a ModelInferRequest, which need not be in `request` itself.

    Raises InvalidArgumentError or UnimplementedError.
    """
    _check_parameters("the request", request.parameters)
    return Inference(_output_names(signature, request.outputs), _feeds(signature, request, raws, max_string_elements))


def response_from_outputs(
    signature: Signature, output_names: Sequence[str], outputs: Iterable[Array], response: Any, max_bytes: int
) -> list[Buffer]:
    """Describes the outputs in a ModelInferResponse and returns their raw contents, which belong to it.

    Raises ResourceExhaustedError where they are more than `max_bytes`.
    """
    outputs = list(outputs)
    for name, array in zip(output_names, outputs, strict=True):
        response.outputs.add(name=name, datatype=signature.output_by_name[name].datatype.name, shape=array.shape)
    return raws_from_outputs(signature, output_names, outputs, max_bytes)


def raws_from_outputs(
    signature: Signature, output_names: Sequence[str], outputs: Iterable[Array], max_bytes: int
) -> list[Buffer]:
    """Raises ResourceExhaustedError where they are more than `max_bytes`."""
    raws: list[Buffer] = []
    size_bytes = 0
    for name, array in zip(output_names, outputs, strict=True):
        raw = raw_from_array(signature.output_by_name[name].datatype, array)
        size_bytes += len(raw)
        if size_bytes > max_bytes:
            raise ResourceExhaustedError(
                f"the answer takes more than the {max_bytes} bytes that --max-message-bytes allows: ask for fewer"
                " outputs, or send a smaller batch"
            )
        raws.append(raw)
    return raws


def _feeds(signature: Signature, request: Any, raws: Sequence[Buffer], max_string_elements: int) -> dict[str, Array]:
    if raws and len(raws) != len(request.inputs):
        raise InvalidArgumentError(
            f"{len(raws)} raw_input_contents for {len(request.inputs)} inputs: send all inputs raw, in order, or none"
        )
    feeds: dict[str, Array] = {}
    strings = 0
    for index, tensor in enumerate(request.inputs):
        spec = _spec_of(signature, tensor.name, feeds)
        shape = _shape(spec, tensor)
        strings += math.prod(shape) if spec.datatype.name == "BYTES" else 0
        if strings > max_string_elements:
            raise _wrong(
                spec,
                f"the request has more strings than the {max_string_elements} that --max-string-elements allows: send"
                " a smaller batch",
            )
        feeds[tensor.name] = _array(spec, tensor, shape, raws[index] if raws else None)
    if missing := [spec.name for spec in signature.inputs if spec.name not in feeds]:
        raise InvalidArgumentError(f"missing {_inputs(missing)}; the model takes {_describe(signature.inputs)}")
    return feeds


def _spec_of(signature: Signature, name: str, seen: dict[str, Array]) -> TensorSpec:
    spec = signature.input_by_name.get(name)
    if spec is None:
        raise InvalidArgumentError(f"no input {name[:100]!r}; the model takes {_describe(signature.inputs)}")
    if name in seen:
        raise InvalidArgumentError(f"input {name!r} is there twice; send it once")
    return spec


def _array(spec: TensorSpec, tensor: Any, shape: tuple[int, ...], raw: Buffer | None) -> Array:
    count = math.prod(shape)
    try:
        if raw is not None:
            _check_no_contents(tensor)
            return array_from_raw(spec.datatype, shape, count, raw)
        return array_from_contents(spec.datatype, shape, count, _contents(spec, tensor))
    except ValueError as error:
        raise _wrong(spec, str(error)) from error


def _shape(spec: TensorSpec, tensor: Any) -> tuple[int, ...]:
    """The shape of a tensor that fits the specification in all but its contents."""
    _check_parameters(f"input {spec.name!r}", tensor.parameters)
    if tensor.datatype != spec.datatype.name:
        raise _wrong(spec, f"wanted {spec.datatype.name}, got {tensor.datatype[:20] or 'no datatype'}")
    shape = tuple(tensor.shape)
    if any(dimension < 0 for dimension in shape):
        raise _wrong(spec, f"shape {_short(shape)} has a negative dimension")
    if not spec.accepts(shape):
        raise _wrong(spec, f"wanted shape {list(spec.shape)}, got {_short(shape)}")
    # Zeros aside: a shape of [0, 2**62] holds nothing and still overflows a stride.
    if len(shape) > _MAX_RANK or math.prod(dimension or 1 for dimension in shape) > _MAX_ELEMENTS:
        raise _wrong(spec, f"shape {_short(shape)} is beyond all memory")
    return shape


def _contents(spec: TensorSpec, tensor: Any) -> Sequence[Any]:
    """The values of the one field of `contents` that the datatype may use."""
    wanted = spec.datatype.contents
    for field, _ in tensor.contents.ListFields():
        if field.name != wanted:
            instead = f"use {wanted}" if wanted else "send raw_input_contents"
            raise ValueError(f"{spec.datatype.name} does not travel in {field.name}; {instead}")
    if wanted is None:
        if 0 in tensor.shape:
            return ()
        raise ValueError(f"no contents: {spec.datatype.name} travels in raw_input_contents only")
    return getattr(tensor.contents, wanted)  # type: ignore[no-any-return]


def _check_no_contents(tensor: Any) -> None:
    if tensor.HasField("contents") and tensor.contents.ListFields():
        raise ValueError("both raw_input_contents and contents are set; send one of them, for all inputs the same")


def _output_names(signature: Signature, requested: Sequence[Any]) -> list[str]:
    """The requested outputs in the order of the request; all of the model's where none is requested."""
    if not requested:
        return list(signature.output_by_name)
    for output in requested:
        if output.name not in signature.output_by_name:
            there = ", ".join(map(repr, signature.output_by_name))
            raise InvalidArgumentError(f"no output {output.name[:100]!r}; the model gives {there}")
        _check_parameters(f"output {output.name!r}", output.parameters)
    names = [output.name for output in requested]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InvalidArgumentError(f"output {sorted(twice)[0]!r} is requested twice; request it once")
    return names


def _check_parameters(where: str, parameters: Any) -> None:
    for name in parameters:
        if name in _REFUSED and _is_set(parameters[name]):
            raise UnimplementedError(f"{where}: parameter {name!r}: {_REFUSED[name]}")


def _is_set(parameter: Any) -> bool:
    """Whether it says anything: clients send sequence_id=0 for "no sequence"."""
    return any(value for _, value in parameter.ListFields())


def _wrong(spec: TensorSpec, text: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"input {spec.name!r}: {text}")


def _inputs(names: list[str]) -> str:
    return ("input " if len(names) == 1 else "inputs ") + ", ".join(map(repr, names))


def _describe(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name!r} ({spec.datatype.name} {list(spec.shape)})" for spec in specs) or "no inputs"


def _short(shape: tuple[int, ...]) -> str:
    return str(list(shape)) if len(shape) <= _MAX_RANK else f"of {len(shape)} dimensions"
