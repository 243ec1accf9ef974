"""One ONNX model loaded into onnxruntime: only modules called onnx_* import it."""

import ctypes
import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from weakref import WeakSet

import numpy as np
import onnxruntime as ort

from modelyard.errors import InvalidArgumentError, ResourceExhaustedError, YardError
from modelyard.tensors import Array
from nodeagent.modelserver.datatypes import BF16_ONNX_ELEMENT_TYPE, STRING_ONNX_ELEMENT_TYPE
from nodeagent.modelserver.onnx_errors import domain_error, load_error
from nodeagent.modelserver.onnx_options import check_providers, choose_providers, session_options
from nodeagent.modelserver.onnx_work import has_steady_work
from nodeagent.modelserver.session import Engine
from nodeagent.modelserver.signature import Signature, signature_of


class OnnxRun:
    """One inference, which may be cancelled from another thread before and while it runs."""

    def __init__(self) -> None:
        self.options = ort.RunOptions()
        self.options.log_severity_level = 4  # a failed run is reported to its caller; do not log it as well

    def cancel(self) -> None:
        """Ends it at the next node of the graph."""
        self.options.terminate = True


class OnnxSession:
    """A loaded model. `run` may be called from several threads, and computes for them beside each other."""

    runs_one_at_a_time = False

    def __init__(
        self, file: Path, *, threads: int, max_string_elements: int, device: str = "cpu", gpu_memory_bytes: int = 0
    ) -> None:
        """`max_string_elements`: of all outputs of a run together. `device`: "cpu" or "cuda".

        Raises InvalidArgumentError where the file is not a model that this server can serve, or not on this device.
        """
        providers = choose_providers(device, gpu_memory_bytes, ort.get_available_providers())
        if device != "cpu":
            ort.preload_dlls()  # those of CUDA and cuDNN that lie in Python packages, where no loader looks
        try:
            self._session = ort.InferenceSession(str(file), session_options(threads), providers=providers)
        except Exception as error:  # onnxruntime has fifteen kinds, all of them direct children of Exception
            raise load_error(error) from error
        check_providers(device, self._session.get_providers())
        self.engine = Engine(
            "onnxruntime_onnx",
            "onnxruntime",
            {"intra_op_thread_count": str(threads), "inter_op_thread_count": "1", "enable_mem_arena": "1"},
        )
        self.signature: Signature = signature_of(self._session.get_inputs(), self._session.get_outputs())
        self._check_model()
        self._file, self._is_on_cpu = file, device == "cpu"
        self._runs: WeakSet[OnnxRun] = WeakSet()
        self._is_terminated = False
        self._max_string_elements = max_string_elements
        self._gives_strings = any(spec.datatype.name == "BYTES" for spec in self.signature.outputs)
        self._gives_ort_values = self._needs_ort_values()

    @cached_property
    def has_steady_work(self) -> bool:
        try:
            return self._is_on_cpu and has_steady_work(self._file)
        except OSError:
            return False

    def begin_run(self) -> OnnxRun:
        run = OnnxRun()
        self._runs.add(run)
        if self._is_terminated:
            run.cancel()
        return run

    def run(self, output_names: list[str], feeds: dict[str, Array], run: OnnxRun | None = None) -> list[Array]:
        """The named outputs, in that order, over memory that onnxruntime owns and lets go of with the arrays.

        BF16 goes in and comes out as the 16 bits of each element. onnxruntime computes the whole graph whatever is
        asked for: `RunOptions.only_execute_path_to_fetches` has an effect in its training builds only.
        Raises InvalidArgumentError where the model cannot compute these inputs, ResourceExhaustedError where it gives
        too many strings or takes more memory than there is.
        """
        try:
            options = (run or self.begin_run()).options
            if self._gives_ort_values:
                return self._run_to_ort_values(output_names, feeds, options)
            outputs: list[Array] = self._session.run(output_names, self._wrap_bf16(feeds), options)
            if self._gives_strings:
                self._check_strings(array.shape for array in outputs if array.dtype == np.object_)
            return outputs
        except YardError:
            raise
        except Exception as error:
            raise domain_error(error) from error

    def terminate(self) -> None:
        """Ends what runs now at its next node; every later run fails."""
        self._is_terminated = True
        for run in list(self._runs):
            run.cancel()

    def _check_model(self) -> None:
        if not self.signature.outputs:
            raise InvalidArgumentError("the model has no outputs")
        kinds_in = {spec.datatype.name for spec in self.signature.inputs}
        if "BYTES" in kinds_in and any(spec.datatype.name == "BF16" for spec in self.signature.outputs):
            raise InvalidArgumentError(
                "a model with string inputs and bfloat16 outputs cannot be run from Python: cast the outputs to float"
            )

    def _needs_ort_values(self) -> bool:
        """`run` cannot give bfloat16 to numpy, and makes Python objects of strings before anyone can count them.

        OrtValues can be read by address, and counted. Strings cannot go in as such: a model that takes and gives them
        is bounded by what it takes, and its answer is counted late.
        """
        kinds_in = {spec.datatype.name for spec in self.signature.inputs}
        kinds_out = {spec.datatype.name for spec in self.signature.outputs}
        return "BF16" in kinds_out or ("BYTES" in kinds_out and "BYTES" not in kinds_in)

    def _check_strings(self, shapes: Iterable[Sequence[int]]) -> None:
        if sum(map(math.prod, shapes)) > self._max_string_elements:
            raise ResourceExhaustedError(
                f"the answer has more strings than the {self._max_string_elements} that --max-string-elements allows:"
                " ask for fewer outputs, or send a smaller batch"
            )

    def _wrap_bf16(self, feeds: dict[str, Array]) -> dict[str, object]:
        # numpy has no such type: the bits go in as uint16 under the name of bfloat16.
        spec = self.signature.input_by_name
        return {
            name: _ort_value(array, BF16_ONNX_ELEMENT_TYPE) if spec[name].datatype.name == "BF16" else array
            for name, array in feeds.items()
        }

    def _run_to_ort_values(
        self, output_names: list[str], feeds: dict[str, Array], options: ort.RunOptions
    ) -> list[Array]:
        # This way in costs 50 us more.
        values = {
            name: value if isinstance(value, ort.OrtValue) else ort.OrtValue.ortvalue_from_numpy(value)
            for name, value in self._wrap_bf16(feeds).items()
        }
        outputs = self._session.run_with_ort_values(output_names, values, options)
        self._check_strings(value.shape() for value in outputs if value.element_type() == STRING_ONNX_ELEMENT_TYPE)
        return [
            _bits(output) if output.element_type() == BF16_ONNX_ELEMENT_TYPE else output.numpy() for output in outputs
        ]


def _ort_value(array: Array, element_type: int) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, element_type)


def _bits(value: ort.OrtValue) -> Array:
    """A copy of the 16-bit elements of an OrtValue as uint16."""
    shape, size = value.shape(), value.tensor_size_in_bytes()
    raw = ctypes.string_at(value.data_ptr(), size) if size else b""
    return np.frombuffer(raw, np.uint16).reshape(shape)
