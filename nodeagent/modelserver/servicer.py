"""The gRPC service over the data plane: parses, calls, serialises, and nothing more.

Requests arrive as bytes and are parsed here, not by gRPC: a message that does not parse then gets INVALID_ARGUMENT
and a sentence instead of gRPC's bare status.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2 as pb

from modelyard.errors import InvalidArgumentError, UnimplementedError, YardError
from nodeagent.modelserver.dataplane import DataPlane
from nodeagent.modelserver.known_requests import KnownRequests
from nodeagent.modelserver.ordered_stream import OrderedStream
from nodeagent.modelserver.wire import Buffer, join_raw_contents, join_stream_response, split_raw_contents

Parse = Callable[[Any, bytes], Any]  # of a class of messages, and the bytes of one

_SMALL_ANSWER = 1 << 14
_MOST_OF_A_STREAM = 16  # requests of one stream under way at once

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]


def inference_handler(dataplane: DataPlane, max_typed_bytes: int) -> grpc.GenericRpcHandler:
    """Handlers for all methods of `inference.GRPCInferenceService`.

    `max_typed_bytes`: the largest message that is parsed, raw contents aside. What protobuf makes of its elements takes
    up to fifty times their size.
    """
    parse = partial(_parse, max_typed_bytes)
    behaviours = _behaviours(dataplane)
    handlers = {
        method.name: _unary(method, behaviours.get(method.name) or _refusal(method.name), parse)
        for method in SERVICE.methods
    }
    handlers["ModelInfer"] = grpc.unary_unary_rpc_method_handler(_infer(dataplane, parse))
    handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(_stream_infer(dataplane, parse))
    return grpc.method_handlers_generic_handler(SERVICE.full_name, handlers)


def _behaviours(dataplane: DataPlane) -> dict[str, Callable[[Any], Any]]:
    return {
        "ServerLive": dataplane.server_live,
        "ServerReady": dataplane.server_ready,
        "ServerMetadata": dataplane.server_metadata,
        "ModelReady": dataplane.model_ready,
        "ModelMetadata": dataplane.model_metadata,
        "ModelConfig": dataplane.model_config,
        "ModelStatistics": dataplane.model_statistics,
        "RepositoryIndex": dataplane.repository_index,
    }


def _unary(method: Any, behaviour: Callable[[Any], Any], parse: Parse) -> Any:
    message = getattr(pb, method.input_type.name)

    async def handle(data: bytes, _context: Any) -> bytes:
        return behaviour(parse(message, data)).SerializeToString()  # type: ignore[no-any-return]

    return grpc.unary_unary_rpc_method_handler(handle)


def _infer(dataplane: DataPlane, parse: Parse) -> Callable[..., Any]:
    requests = KnownRequests(partial(parse, pb.ModelInferRequest))

    async def infer(data: bytes, context: Any) -> bytes:
        known, request_raws = requests.find(data)
        response, raws = await dataplane.infer(known.message, request_raws, context.time_remaining(), known)
        answer = join_raw_contents(response.SerializeToString(), raws)
        if len(answer) > _SMALL_ANSWER:  # a small one is in the connection's buffer at once
            dataplane.admission.begin_answer()
            context.add_done_callback(lambda _: dataplane.admission.end_answer())
        return answer

    return infer


def _stream_infer(dataplane: DataPlane, parse: Parse) -> Callable[..., AsyncIterator[bytes]]:
    async def stream_infer(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        stream = OrderedStream(_MOST_OF_A_STREAM, dataplane.admission.has_room_ahead)
        # A generator that is given up while it is sending learns of it only when it is collected.
        context.add_done_callback(lambda _: stream.cancel())
        async for answer in stream.answers(requests, partial(_stream_answer, dataplane, parse)):
            dataplane.admission.begin_answer()
            try:
                yield answer
            finally:
                dataplane.admission.end_answer()

    return stream_infer


async def _stream_answer(dataplane: DataPlane, parse: Parse, data: bytes) -> bytes:
    """An answer or an error message: one bad request does not end the stream."""
    request_id = ""
    try:
        request, raws = _parse_infer_request(parse, data)
        request_id = request.id
        response, raw_outputs = await dataplane.infer(request, raws)
    except YardError as error:
        failed = pb.ModelInferResponse(id=request_id)
        return pb.ModelStreamInferResponse(  # type: ignore[no-any-return]
            error_message=error.message, infer_response=failed
        ).SerializeToString()
    # Clients that wait for the end of a request's answers look for this; here each has exactly one.
    response.parameters["triton_final_response"].bool_param = True
    return join_stream_response(response.SerializeToString(), raw_outputs)


def _parse_infer_request(parse: Parse, data: bytes) -> tuple[Any, Sequence[Buffer]]:
    rest, raws, _ = split_raw_contents(data)
    request = parse(pb.ModelInferRequest, rest)
    return request, raws or request.raw_input_contents


def _parse(max_bytes: int, message: Any, data: bytes) -> Any:
    name = message.DESCRIPTOR.full_name
    if len(data) > max_bytes:
        raise InvalidArgumentError(
            f"the {name} has {len(data)} bytes beside raw_input_contents, more than the {max_bytes} that"
            " --max-typed-bytes allows: send its tensors as raw_input_contents"
        )
    try:
        return message.FromString(data)
    except DecodeError as error:
        raise InvalidArgumentError(f"what was sent is not a {name}: use a client for KServe v2") from error


def _refusal(method: str) -> Callable[[Any], Any]:
    if "SharedMemory" in method:
        advice = "send the tensors in the request"
    elif method.startswith("Repository"):
        advice = "register models with `modelyard register`, serve them with `modelyard deploy`"
    else:
        advice = "the program's own flags set its logging"

    def refuse(_request: Any) -> Any:
        raise UnimplementedError(f"{method} is not offered here: {advice}")

    return refuse
