"""One TensorFlow SavedModel loaded into OpenVINO: the only module that imports it.

What its CPU plugin does otherwise than one would think, and what is done about it here:

- It computes 64-bit integers as INT32 and FP64 as FP32, without a word where a number does not fit. Inputs are checked
  for that; what a model itself makes too large is wrong without notice.
- An inference that fails or is cut off on its way leaves the shapes of some operators behind, and later ones are
  computed by those. So shapes are checked before, what has failed is compiled anew, and what has begun is not cut off.
- The synchronous call swallows errors where it has one thread, and gives old numbers.
"""

import importlib
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np

from modelyard.errors import InvalidArgumentError, YardError
from modelyard.tensors import Array
from nodeagent.modelserver.datatypes import BY_OPENVINO_TYPE
from nodeagent.modelserver.openvino_errors import domain_error, shorten, stopped
from nodeagent.modelserver.openvino_names import find_inputs, find_outputs
from nodeagent.modelserver.session import Engine
from nodeagent.modelserver.signature import Signature, TensorSpec

# It imports its converter, which is not needed here and would leave files in the home folder and report to its makers.
sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
ov = importlib.import_module("openvino")

_MOST_SHAPES = 1000
_INT32, _FP32 = np.iinfo(np.int32), np.finfo(np.float32)


class OpenVinoRun:
    """One inference. Cancelled before it starts, it never does; a model of fixed shapes ends after its operator.

    A loop in the graph is one operator.
    """

    def __init__(self, interrupt: Callable[[], None]) -> None:
        """`interrupt`: ends what runs."""
        self._interrupt = interrupt
        self._lock = threading.Lock()
        self._is_cancelled = False
        self._is_running = False

    def cancel(self) -> None:
        with self._lock:
            self._is_cancelled = True
            if self._is_running:
                self._interrupt()

    def start(self, start: Callable[[], None]) -> None:
        """Raises UnavailableError where it was cancelled."""
        with self._lock:
            if self._is_cancelled:
                raise stopped()
            start()
            self._is_running = True

    def end(self) -> None:
        with self._lock:
            self._is_running = False


class OpenVinoSession:
    """A loaded model. `run` may be called from several threads, and computes for them one after the other."""

    runs_one_at_a_time = True
    has_steady_work = False

    def __init__(self, folder: Path, *, threads: int, inputs: Sequence[str] = (), outputs: Sequence[str] = ()) -> None:
        """`inputs` and `outputs`: the keys of the served signature; none: all that OpenVINO finds, by its names.

        Raises InvalidArgumentError where the folder is not a model that this server can serve.
        """
        self.engine = Engine("tensorflow_savedmodel", "openvino", {"INFERENCE_NUM_THREADS": str(threads)})
        self._options = _options(threads)
        self._core = ov.Core()
        try:
            self._model = _select(self._core.read_model(folder), inputs, outputs)
            self.signature = _read_signature(self._model, inputs, outputs)
            self._request = self._compile()
        except YardError:
            raise
        except Exception as error:  # all of OpenVINO's are RuntimeErrors
            raise InvalidArgumentError(f"OpenVINO cannot load it: {shorten(str(error))}") from error
        self._shapes = ShapeCheck(self._model) if self._model.is_dynamic() else None
        self._input_at = {spec.name: index for index, spec in enumerate(self.signature.inputs)}
        self._output_at = {spec.name: index for index, spec in enumerate(self.signature.outputs)}
        self._lock = threading.Lock()
        # An inference failed on its way: what was compiled is not to be trusted any more.
        self._is_spoiled = False
        self._runs: WeakSet[OpenVinoRun] = WeakSet()
        self._is_terminated = False

    def begin_run(self) -> OpenVinoRun:
        run = OpenVinoRun(self._interrupt)
        self._runs.add(run)
        if self._is_terminated:
            run.cancel()
        return run

    def run(self, output_names: list[str], feeds: dict[str, Array], run: OpenVinoRun | None = None) -> list[Array]:
        """Copies of the named outputs, in that order; BF16 goes in and comes out as the 16 bits of each element.

        Raises InvalidArgumentError where the model cannot compute these inputs, ResourceExhaustedError where it takes
        more memory than there is.
        """
        run = run or self.begin_run()
        try:
            tensors = {self._input_at[name]: self._to_tensor(name, array) for name, array in feeds.items()}
            with self._lock:
                if self._shapes:
                    self._shapes.check({index: tuple(tensor.shape) for index, tensor in tensors.items()})
                self._compute(run, tensors)
                # The request keeps its memory for the next inference.
                return [self._copy_output(name) for name in output_names]
        except YardError:
            raise
        except Exception as error:
            raise domain_error(error) from error

    def terminate(self) -> None:
        """Ends what runs now after its operator; every later run fails."""
        self._is_terminated = True
        for run in list(self._runs):
            run.cancel()
        self._request.cancel()

    def _compile(self) -> Any:
        return self._core.compile_model(self._model, "CPU", self._options).create_infer_request()

    def _interrupt(self) -> None:
        if self._shapes is None:
            self._request.cancel()

    def _compute(self, run: OpenVinoRun, tensors: dict[int, Any]) -> None:
        if self._is_spoiled:
            self._request, self._is_spoiled = self._compile(), False
        run.start(lambda: self._request.start_async(tensors))
        try:
            self._request.wait()
        except Exception:
            self._is_spoiled = True
            raise
        finally:
            run.end()

    def _to_tensor(self, name: str, array: Array) -> Any:
        datatype = self.signature.input_by_name[name].datatype
        _check_range(name, datatype.name, array)
        if datatype.name == "BF16":
            return ov.Tensor(np.array(array), ov.Shape(array.shape), ov.Type.bf16)
        return array

    def _copy_output(self, name: str) -> Array:
        data: Array = self._request.get_output_tensor(self._output_at[name]).data
        is_bf16 = self.signature.output_by_name[name].datatype.name == "BF16"
        return (data.view(np.uint16) if is_bf16 else data).copy()


class ShapeCheck:
    """Whether a model can compute inputs of some shapes, found out without computing."""

    def __init__(self, model: Any) -> None:
        self._model = model.clone()
        self._known: set[tuple[tuple[int, tuple[int, ...]], ...]] = set()

    def check(self, shapes: Mapping[int, tuple[int, ...]]) -> None:
        """Raises RuntimeError. `shapes`: by the position of the input."""
        key = tuple(sorted(shapes.items()))
        if key not in self._known:
            self._model.reshape({index: ov.PartialShape(list(shape)) for index, shape in key})
            if len(self._known) >= _MOST_SHAPES:
                self._known.clear()
            self._known.add(key)


def _options(threads: int) -> dict[str, Any]:
    return {
        # By default it computes in bfloat16 where the CPU can.
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        # The agent has chosen the cores: left to itself every replica would take the first of the host's.
        "ENABLE_CPU_PINNING": False,
        "ENABLE_HYPER_THREADING": True,
    }


def _select(model: Any, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """The part of it that is the served signature, in that order: OpenVINO joins the signatures of some models."""
    parameters, results = model.get_parameters(), model.get_results()
    if not outputs:
        return model
    found_inputs = find_inputs(inputs, [parameter.get_friendly_name() for parameter in parameters])
    found_outputs = find_outputs(outputs, inputs, [result.get_friendly_name() for result in results])
    return ov.Model([results[index] for index in found_outputs], [parameters[index] for index in found_inputs])


def _read_signature(model: Any, inputs: Sequence[str], outputs: Sequence[str]) -> Signature:
    input_names = inputs if outputs else [port.get_node().get_friendly_name() for port in model.inputs]
    output_names = outputs or [port.get_node().get_friendly_name() for port in model.outputs]
    return Signature(
        tuple(_tensor_spec("input", name, port) for name, port in zip(input_names, model.inputs, strict=True)),
        tuple(_tensor_spec("output", name, port) for name, port in zip(output_names, model.outputs, strict=True)),
    )


def _tensor_spec(kind: str, name: str, port: Any) -> TensorSpec:
    type_name = port.element_type.get_type_name()
    datatype = BY_OPENVINO_TYPE.get(type_name)
    if datatype is None:
        raise InvalidArgumentError(
            f"{kind} {name!r} is of type {type_name}, which cannot be served on OpenVINO: "
            f"export the model with tensors of {', '.join(BY_OPENVINO_TYPE)} only"
        )
    shape = port.partial_shape
    if shape.rank.is_dynamic:
        return TensorSpec(name, datatype, ())
    return TensorSpec(name, datatype, tuple(-1 if size.is_dynamic else size.get_length() for size in shape))


def _check_range(name: str, datatype: str, array: Array) -> None:
    if datatype in ("INT64", "UINT64", "UINT32") and array.size:
        if array.min() < _INT32.min or array.max() > _INT32.max:
            raise InvalidArgumentError(
                f"input {name!r} has numbers beyond {_INT32.min} to {_INT32.max}: OpenVINO computes integers in 32 bits"
            )
    elif datatype == "FP64" and np.any(np.isfinite(array) & (np.abs(array) > _FP32.max)):
        raise InvalidArgumentError(f"input {name!r} has numbers beyond {_FP32.max:g}: OpenVINO computes in FP32")
