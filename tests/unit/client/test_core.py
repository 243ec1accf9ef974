"""What both clients do with a call, told by the attempts that they are given to make."""

import math
import time
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

import modelyard
from modelyard._core import ClientCore
from modelyard._target import Target, resolve_optional_target
from modelyard.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from tests.unit.client.test_calls import Failure

MAKERS = [modelyard.Client, modelyard.aio.Client]
X = {"x": np.zeros(1, np.float32)}


class Channel:
    """Its methods are their own names."""

    def __init__(self, address: str, options: Any) -> None:
        pass

    def unary_unary(self, name: str, serializer: Any, deserializer: Any) -> str:
        return name.rpartition("/")[2]


@pytest.fixture
def core() -> ClientCore:
    return ClientCore(Channel, "localhost:8001", 30.0, 2)


def finish(call: Any, reply: Any) -> Any:
    with pytest.raises(StopIteration) as end:
        call.send(reply)
    return end.value.value


def test_a_call_is_sent_again_after_a_pause_and_its_reply_is_the_result(core: ClientCore) -> None:
    call = core.infer(Target("resnet"), X, (), None, None)
    first = next(call)
    assert (first.method, first.headers, first.delay_s) == ("ModelInfer", [("x-model", "resnet")], 0)
    second = call.throw(Failure(grpc.StatusCode.UNAVAILABLE, "no replica is ready"))
    assert second == first._replace(delay_s=second.delay_s) and second.delay_s > 0
    assert finish(call, service_pb2.ModelInferResponse()) == {}


def test_the_last_failure_is_what_the_caller_gets(core: ClientCore) -> None:
    call = core.infer(Target("resnet"), X, (), None, 0)
    next(call)
    with pytest.raises(UnavailableError, match="no replica is ready"):
        call.throw(Failure(grpc.StatusCode.UNAVAILABLE, "no replica is ready"))


def test_the_deadline_is_that_of_the_call_or_else_that_of_the_client(core: ClientCore) -> None:
    now = time.monotonic()
    assert next(core.models(None)).deadline >= now + 30
    assert next(core.models(1.0)).deadline < now + 30
    assert next(core.models(math.inf)).deadline == math.inf


def test_nothing_is_sent_by_a_closed_client(core: ClientCore) -> None:
    core.is_closed = True
    with pytest.raises(FailedPreconditionError, match="localhost:8001 is closed: make another one"):
        next(core.infer(Target("resnet"), X, (), None, None))


@pytest.mark.parametrize("failure", [Failure(grpc.StatusCode.CANCELLED, "Channel closed!"), ValueError("closed")])
def test_closing_a_client_is_the_reason_that_its_calls_end_with(core: ClientCore, failure: Exception) -> None:
    call = core.infer(Target("resnet"), X, (), None, None)
    next(call)
    core.is_closed = True
    with pytest.raises(FailedPreconditionError, match="is closed"):
        call.throw(failure)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("address", ["", "localhost", ":8001", "http://localhost:8001", "localhost:99999", "::1:80"])
def test_what_is_no_address_is_refused_at_once(make: Any, address: str) -> None:
    with pytest.raises(InvalidArgumentError, match="wanted HOST:PORT"):
        make(address)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((None,), {}, "address must be a string"),
        ((8001,), {}, "address must be a string"),
        ((), {"timeout_s": "3"}, "timeout_s must be a number"),
        ((), {"timeout_s": None}, "timeout_s must be a number"),
        ((), {"retries": 1.5}, "retries must be a whole number"),
    ],
)
def test_a_wrong_type_is_named(make: Any, arguments: tuple[Any, ...], options: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        make(*arguments, **options)


@pytest.mark.parametrize("options", [{"timeout_s": -1}, {"timeout_s": math.nan}, {"retries": -1}])
def test_less_than_nothing_is_refused(core: ClientCore, options: dict[str, Any]) -> None:
    for make in MAKERS:
        with pytest.raises(InvalidArgumentError, match="from 0 up"):
            make(**options)
    with pytest.raises(InvalidArgumentError, match="from 0 up"):
        next(core.infer(Target("resnet"), X, (), **{"timeout_s": None, "retries": None, **options}))


def test_a_mistyped_option_is_told_from_an_input(core: ClientCore) -> None:
    call = core.infer(Target("resnet"), {**X, "timeout": 3}, (), None, None)
    assert next(call).method == "ModelMetadata"
    metadata = service_pb2.ModelMetadataResponse()
    metadata.inputs.add(name="x", datatype="FP32", shape=[-1])
    with pytest.raises(InvalidArgumentError, match=r"no input 'timeout'.*did you mean the option timeout_s"):
        call.send(metadata)


def test_one_name_is_no_list_of_outputs(core: ClientCore) -> None:
    with pytest.raises(TypeError, match=r"outputs=\['scores'\]"):
        next(core.infer(Target("resnet"), X, "scores", None, None))


def test_where_nothing_is_named_the_yard_is_meant() -> None:
    assert resolve_optional_target(None, alias=None, version=None, model_id=None) is None
    with pytest.raises(InvalidArgumentError, match="name the model"):
        resolve_optional_target(None, alias="staging", version=None, model_id=None)
