"""A session whose runs wait until a test lets them go, and that keeps what it was asked to compute."""

import threading
from collections.abc import Callable

import numpy as np

from modelyard.datatypes import BY_NAME
from modelyard.errors import InvalidArgumentError, UnavailableError
from modelyard.tensors import Array
from nodeagent.modelserver.session import Engine
from nodeagent.modelserver.signature import Signature, TensorSpec

BAD = 666.0
_TIMEOUT_S = 30


class GatedRun:
    def __init__(self) -> None:
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class GatedSession:
    """y = 2 x and z = -x, FP32 [b, n]. A row that begins with BAD is refused."""

    runs_one_at_a_time = False
    has_steady_work = False
    engine = Engine("fake", "fake")
    signature = Signature(
        (TensorSpec("x", BY_NAME["FP32"], (-1, -1)),),
        (TensorSpec("y", BY_NAME["FP32"], (-1, -1)), TensorSpec("z", BY_NAME["FP32"], (-1, -1))),
    )

    def __init__(self, *, is_open: bool = True) -> None:
        self.runs: list[Array] = []  # the input of each, from its beginning on
        self.finished: list[GatedRun] = []
        self.change: Callable[[Array], Array] = lambda output: output
        self.error: Exception | None = None
        self._gate = threading.Semaphore(1000 if is_open else 0)
        self._begun = threading.Condition()

    def let_go(self, count: int = 1) -> None:
        self._gate.release(count)

    def wait_begun(self, count: int) -> None:
        """Until so many runs have begun altogether. Blocking."""
        with self._begun:
            assert self._begun.wait_for(lambda: len(self.runs) >= count, _TIMEOUT_S)

    def rows(self) -> list[int]:
        return [len(array) for array in self.runs]

    def begin_run(self) -> GatedRun:
        return GatedRun()

    def run(self, output_names: list[str], feeds: dict[str, Array], run: GatedRun | None = None) -> list[Array]:
        with self._begun:
            self.runs.append(feeds["x"])
            self._begun.notify_all()
        assert self._gate.acquire(timeout=_TIMEOUT_S)
        run = run or GatedRun()
        self.finished.append(run)
        if run.is_cancelled:
            raise UnavailableError("stopped")
        if self.error:
            raise self.error
        if np.any(feeds["x"][:, :1] == BAD):
            raise InvalidArgumentError("this row cannot be computed")
        outputs = {"y": feeds["x"] * 2, "z": -feeds["x"]}
        return [self.change(outputs[name]) for name in output_names]

    def terminate(self) -> None:
        pass
