"""The code that Triton's Python backend runs for a model of the yard: the built-in server's sessions, in its process.

It is copied into each replica's model repository, and imported there by Triton alone. Arrays travel by DLPack: what
passes numpy's C structures is empty under numpy 2, which Triton's binding does not know yet.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]

from modelyard.errors import InvalidArgumentError, YardError
from modelyard.logs import configure_logging
from nodeagent.modelserver.loading import find_session
from nodeagent.modelserver.settings import ServerSettings
from nodeagent.modelserver.warm_up import WarmUp

Array = Any


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        settings = ServerSettings.load(json.loads(config["parameters"]["model_server_flags"]["string_value"]))
        configure_logging(settings.log_level, settings.log_format)
        try:
            self._session = find_session(settings)()
        except YardError as error:
            raise pb_utils.TritonModelException(error.message) from error
        self._bools = {tensor["name"] for tensor in config["input"] if tensor["data_type"] == "TYPE_BOOL"}
        self._outputs = [spec.name for spec in self._session.signature.outputs]
        self._scalars = {spec.name for spec in self._session.signature.inputs if not spec.shape}
        # What Triton reads after `execute` has returned.
        self._kept: list[Array] = []
        # Also finds out whether a row's answer depends on the rows beside it.
        self._merges = WarmUp(settings, self._session).run().max_rows > 1

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        self._kept = []
        asked = [self._read(request) for request in requests]
        if len(asked) > 1 and self._merges and _can_merge(asked):
            try:
                return [self._answer(outputs) for outputs in self._run_merged(asked)]
            except YardError:
                pass  # each by itself: one of them may be wrong, and the others are not
        return [self._run_alone(names, feeds) for names, feeds in asked]

    def _read(self, request: Any) -> tuple[list[str], dict[str, Array]]:
        feeds = {tensor.name(): self._to_array(tensor) for tensor in request.inputs()}
        asked = request.requested_output_names()  # Triton has them sorted
        return [name for name in self._outputs if name in asked], feeds

    def _to_array(self, tensor: Any) -> Array:
        array = np.from_dlpack(tensor)
        if tensor.name() in self._bools:
            array = array.view(np.bool_)
        if tensor.name() in self._scalars and array.shape == (1,):
            array = array.reshape(())
        # It lies wherever there was room in the memory that is shared; onnxruntime counts on alignment.
        return array if array.flags.aligned else array.copy()

    def _run_alone(self, names: list[str], feeds: dict[str, Array]) -> Any:
        try:
            return self._answer(dict(zip(names, self._session.run(names, feeds), strict=True)))
        except YardError as error:
            return pb_utils.InferenceResponse(error=_to_triton(error))

    def _run_merged(self, asked: Sequence[tuple[list[str], dict[str, Array]]]) -> list[dict[str, Array]]:
        names = asked[0][0]
        feeds = {name: np.concatenate([feeds[name] for _, feeds in asked]) for name in asked[0][1]}
        ends = np.cumsum([len(next(iter(feeds.values()))) for _, feeds in asked])
        outputs = self._session.run(names, feeds)
        if any(len(output) != ends[-1] for output in outputs):
            raise InvalidArgumentError("the model gives other rows than it takes, so that requests cannot be merged")
        parts = [np.split(output, ends[:-1]) for output in outputs]
        return [dict(zip(names, of_one, strict=True)) for of_one in zip(*parts, strict=True)]

    def _answer(self, outputs: dict[str, Array]) -> Any:
        return pb_utils.InferenceResponse([self._to_tensor(name, array) for name, array in outputs.items()])

    def _to_tensor(self, name: str, array: Array) -> Any:
        # Of a numpy array itself the binding takes the capsule in a way that numpy complains of at each request.
        array = np.ascontiguousarray(array)  # a scalar becomes [1]
        value = ort.OrtValue.ortvalue_from_numpy(array)
        self._kept += (array, value)
        return pb_utils.Tensor.from_dlpack(name, value)


def _can_merge(asked: Sequence[tuple[list[str], dict[str, Array]]]) -> bool:
    def kind(names: list[str], feeds: dict[str, Array]) -> Any:
        return names, {name: array.shape[1:] for name, array in feeds.items()}

    return all(kind(*one) == kind(*asked[0]) for one in asked)


def _to_triton(error: YardError) -> Any:
    code = (
        pb_utils.TritonError.INVALID_ARG if isinstance(error, InvalidArgumentError) else pb_utils.TritonError.INTERNAL
    )
    return pb_utils.TritonError(error.message, code)
