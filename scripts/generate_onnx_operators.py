"""Writes controlplane/registry/formats/onnx_operators.json: what the installed onnxruntime runs on a CPU.

The controller looks operators up in it and so needs no onnxruntime. `--check` fails where the file is not what the
installed onnxruntime gives. Run it again after a new onnxruntime.

A kernel is no proof that an operator runs, and the lack of one no proof that it does not: many operators are functions
of others. So an operator version without a kernel is tried: a model of that one node is loaded, with each type
that it allows. It is written down as lacking only if onnxruntime says that it has no implementation, never because the
try was a bad model or too vague a one to make the function of.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import onnx.defs
import onnxruntime
from onnx import TensorProto, helper
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

TARGET = Path(__file__).parents[1] / "controlplane/registry/formats/onnx_operators.json"
_OPEN_END = 2**31 - 1
_MOST_TYPES = 16
_SHAPES: tuple[list[str] | None, ...] = (None, ["a"], ["a", "b"], ["a", "b", "c"], ["a", "b", "c", "d"])
_TYPES = {
    "tensor(float)": TensorProto.FLOAT,
    "tensor(float16)": TensorProto.FLOAT16,
    "tensor(double)": TensorProto.DOUBLE,
    "tensor(bfloat16)": TensorProto.BFLOAT16,
    "tensor(int64)": TensorProto.INT64,
    "tensor(int32)": TensorProto.INT32,
    "tensor(int16)": TensorProto.INT16,
    "tensor(int8)": TensorProto.INT8,
    "tensor(uint64)": TensorProto.UINT64,
    "tensor(uint32)": TensorProto.UINT32,
    "tensor(uint16)": TensorProto.UINT16,
    "tensor(uint8)": TensorProto.UINT8,
    "tensor(bool)": TensorProto.BOOL,
    "tensor(string)": TensorProto.STRING,
}
_VALUES = {"INT": 1, "FLOAT": 1.0, "STRING": "x", "INTS": [1], "FLOATS": [1.0], "STRINGS": ["x"]}


def main() -> None:
    onnxruntime.set_default_logger_severity(4)
    content = json.dumps(compute_operators(), indent=None, separators=(",", ":"), sort_keys=True)
    content = content.replace("},", "},\n").replace("],", "],\n") + "\n"
    if "--check" not in sys.argv:
        TARGET.write_text(content)
    elif TARGET.read_text() != content:
        sys.exit(f"{TARGET.name} is stale: run scripts/generate_onnx_operators.py and commit the result")


def compute_operators() -> dict[str, Any]:
    """`versions`: domain -> operator -> the opsets in which its meaning changed; `lacking`: those that do not run."""
    versions: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    lacking: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    kernels = _kernel_ranges()
    for schema in sorted(runtime.get_all_operator_schema(), key=lambda schema: schema.since_version):
        domain, name, since = schema.domain, schema.name, schema.since_version
        versions[domain][name].append(since)
        has_kernel = any(_matches(kernel, since) for kernel in kernels[domain, name])
        if schema.deprecated or (not has_kernel and _is_lacking(schema)):
            lacking[domain][name].append(since)
    return {
        "onnxruntime": onnxruntime.__version__,
        "highest_ir_version": _highest(lambda ir: _load([_identity()], {"": 17}, ir=ir)),
        "highest_opsets": {domain: _highest_opset(domain) for domain in versions if not domain.startswith("com.ms.")},
        "versions": versions,
        "lacking": lacking,
    }


def _kernel_ranges() -> dict[tuple[str, str], set[tuple[int, int]]]:
    ranges: dict[tuple[str, str], set[tuple[int, int]]] = defaultdict(set)
    for kernel in runtime.get_all_opkernel_def():
        if kernel.provider == "CPUExecutionProvider":
            ranges[kernel.domain, kernel.op_name].add(kernel.version_range)
    return ranges


def _matches(kernel: tuple[int, int], since: int) -> bool:
    """Onnxruntime's own rule: a kernel without an end is only good for the version that it begins with."""
    first, last = kernel
    return first == since or (last != _OPEN_END and first <= since <= last)


def _is_lacking(schema: Any) -> bool:
    answers = [_try(schema, types, shape) for types in _type_choices(schema) for shape in _SHAPES]
    # Of a function that depends on its inputs, this may only say that these inputs told too little.
    unproven = f" for {schema.name}(" if _is_function(schema) else None
    proofs = [answer for answer in answers if "NOT_IMPLEMENTED" in answer and not (unproven and unproven in answer)]
    return "" not in answers and bool(proofs)


def _is_function(schema: Any) -> bool:
    try:
        known = onnx.defs.get_schema(schema.name, schema.since_version, schema.domain)
    except onnx.defs.SchemaError:
        return False
    return bool(known.has_function or known.has_context_dependent_function)


def _type_choices(schema: Any) -> Iterator[dict[str, str]]:
    """For each type that the first constraint allows: a type for each constraint."""
    allowed = {c.type_param_str: [t for t in c.allowed_type_strs if t in _TYPES] for c in schema.type_constraints}
    for index in range(min(_MOST_TYPES, max(map(len, allowed.values()), default=1))):
        yield {name: types[index % len(types)] for name, types in allowed.items() if types}


def _try(schema: Any, types: dict[str, str], shape: list[str] | None) -> str:
    inputs = [types.get(one.typeStr, one.typeStr) for one in schema.inputs[: schema.min_input]]
    if any(type_ not in _TYPES for type_ in inputs):
        return "not a tensor"
    node = helper.make_node(
        schema.name,
        [f"x{index}" for index in range(len(inputs))],
        [f"y{index}" for index in range(max(schema.min_output, 1))],
        domain=schema.domain,
        **_required_attributes(schema),
    )
    infos = [helper.make_tensor_value_info(f"x{i}", _TYPES[type_], shape) for i, type_ in enumerate(inputs)]
    opsets = {"": schema.since_version} if not schema.domain else {"": 22, schema.domain: schema.since_version}
    return _load([node], opsets, infos)


def _required_attributes(schema: Any) -> dict[str, Any]:
    kinds = {name: str(one.type).rpartition(".")[2] for name, one in schema.attributes.items() if one.required}
    return {name: _VALUES[kind] for name, kind in kinds.items() if kind in _VALUES}


def _identity() -> Any:
    return helper.make_node("Identity", ["x0"], ["y0"])


def _highest_opset(domain: str) -> int:
    return _highest(lambda opset: _load([_identity()], {"": 17, domain: opset}))


def _highest(load: Callable[[int], str]) -> int:
    # From the first one that every release takes on; beyond its last one onnxruntime takes none.
    first = next(number for number in range(1, 20) if not load(number))
    return next(number for number in range(first, 1000) if load(number + 1))


def _load(nodes: Iterable[Any], opsets: dict[str, int], inputs: Iterable[Any] = (), ir: int = 10) -> str:
    """ "", or why onnxruntime does not load a model of these nodes."""
    outputs = [helper.make_empty_tensor_value_info(name) for node in nodes for name in node.output]
    infos = list(inputs) or [helper.make_tensor_value_info("x0", TensorProto.FLOAT, None)]
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    model = helper.make_model(helper.make_graph(nodes, "g", infos, outputs), opset_imports=imports, ir_version=ir)
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main()
