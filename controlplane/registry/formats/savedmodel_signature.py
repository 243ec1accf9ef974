"""Which of a SavedModel's signatures is served, in the words of KServe v2, and why another is not. Pure."""

import re
from collections.abc import Collection, Mapping, Sequence

from controlplane.domain import SavedModelDetails, Signature, TensorSpec
from controlplane.registry.formats.savedmodel_file import MetaGraph, RawSignature, RawTensor
from modelyard.errors import InvalidArgumentError

_SERVE = "serve"
_DEFAULT = "serving_default"
# Not for callers: TensorFlow runs them as it loads or trains the model.
_INTERNAL = {"__saved_model_init_op", "__saved_model_train_op"}
_REFERENCE = 100  # added to the number of a type by TensorFlow 1's references
_STRING = 7
_DATATYPES: dict[int, str] = {
    1: "FP32",
    2: "FP64",
    3: "INT32",
    4: "UINT8",
    5: "INT16",
    6: "INT8",
    _STRING: "BYTES",
    9: "INT64",
    10: "BOOL",
    14: "BF16",
    17: "UINT16",
    19: "FP16",
    22: "UINT32",
    23: "UINT64",
}
_SHARD = re.compile(r"variables/variables\.data-(\d{5})-of-(\d{5})")
_INDEX = "variables/variables.index"
_SAVE_AGAIN = "export it again: model.export(folder) in Keras, tf.saved_model.save(model, folder) elsewhere"


def compute_details(graphs: Sequence[MetaGraph], files: Collection[str]) -> SavedModelDetails:
    """`files`: the paths in the model's folder. InvalidArgumentError where it cannot be served, with the reason.

    Signatures beside the served one are kept where KServe v2 has words for them.
    """
    graph = _choose_graph(graphs)
    served = _choose_signature(graph.signatures)
    _refuse_unserved(served, graph.signatures[served])
    if graph.has_variables:
        _refuse_missing_variables(files)
    signatures = {key: signature for key, raw in sorted(graph.signatures.items()) if (signature := _express(raw))}
    return SavedModelDetails(graph.tensorflow_version, tuple(sorted(graph.tags)), signatures, served)


def _choose_graph(graphs: Sequence[MetaGraph]) -> MetaGraph:
    candidates = [graph for graph in graphs if _SERVE in graph.tags]
    if not candidates:
        found = ", ".join(repr(list(graph.tags)) for graph in graphs) or "nothing"
        raise InvalidArgumentError(f"the SavedModel has no graph with the tag {_SERVE!r}, only {found}; {_SAVE_AGAIN}")
    # Others are for hardware: ("serve", "tpu").
    return min(candidates, key=lambda graph: len(graph.tags))


def _choose_signature(signatures: Mapping[str, RawSignature]) -> str:
    keys = sorted(signatures.keys() - _INTERNAL)
    if _DEFAULT in keys:
        return _DEFAULT
    if len(keys) == 1:
        return keys[0]
    found = f"the signatures {', '.join(map(repr, keys))}, none of them" if keys else "no signature, so not even"
    raise InvalidArgumentError(
        f"the SavedModel has {found} {_DEFAULT!r}, which is the one that is served; export it with that one: "
        f"tf.saved_model.save(model, folder, signatures={{{_DEFAULT!r}: function}})"
    )


def _refuse_unserved(key: str, signature: RawSignature) -> None:
    for side, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        if not tensors:
            raise InvalidArgumentError(
                f"the signature {key!r} of the SavedModel has no {side}s, so nobody can ask it anything; {_SAVE_AGAIN}"
            )
        for name, tensor in tensors.items():
            if not name or not name.isprintable():
                raise InvalidArgumentError(f"the {side} {name!r} of the SavedModel has no printable name; rename it")
            _refuse_tensor(f"the {side} {name!r} of the SavedModel", tensor)


def _refuse_tensor(what: str, tensor: RawTensor) -> None:
    if tensor.is_sparse:
        raise InvalidArgumentError(f"{what} is sparse or made of parts; export it with plain tensors instead")
    if tensor.dtype % _REFERENCE == _STRING:
        raise InvalidArgumentError(
            f"{what} is a string, and OpenVINO, which serves SavedModels here, takes none; export it with the step "
            "from strings to numbers left out, so that callers send numbers"
        )
    if tensor.dtype % _REFERENCE not in _DATATYPES:
        raise InvalidArgumentError(
            f"{what} has the TensorFlow type number {tensor.dtype}, which the KServe v2 protocol does not have; cast "
            "it inside the model, to tf.float32 for instance"
        )
    if tensor.shape is None:
        raise InvalidArgumentError(
            f"{what} has no shape, not even a number of dimensions; export it with one: tf.TensorSpec([None, 3], ...)"
        )


def _refuse_missing_variables(files: Collection[str]) -> None:
    shards = [match for path in files if (match := _SHARD.fullmatch(path))]
    totals = {int(match[2]) for match in shards}
    missing = [_INDEX] if _INDEX not in files else []
    if len(totals) != 1 or {int(match[1]) for match in shards} != set(range(max(totals))):
        missing.append("variables/variables.data-...")
    if missing:
        raise InvalidArgumentError(
            f"the SavedModel has variables, and {' and '.join(missing)} is not there, or not whole; register the whole "
            "folder, with its folder variables"
        )


def _express(raw: RawSignature) -> Signature | None:
    inputs, outputs = _specs(raw.inputs), _specs(raw.outputs)
    return None if inputs is None or outputs is None else Signature(inputs, outputs)


def _specs(tensors: Mapping[str, RawTensor]) -> tuple[TensorSpec, ...] | None:
    specs = []
    for name, tensor in sorted(tensors.items()):
        datatype = _DATATYPES.get(tensor.dtype % _REFERENCE)
        if datatype is None or tensor.shape is None or tensor.is_sparse:
            return None
        specs.append(TensorSpec(name, datatype, tensor.shape))
    return tuple(specs)
