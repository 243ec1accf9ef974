"""Envoy's memory stays near its limit, however much is sent at once."""

import asyncio
from collections import Counter
from typing import Any

from grpc import aio
from tritonclient.grpc import service_pb2

_LIMIT_BYTES = 128 << 20
_SMALL = service_pb2.ModelInferRequest(model_name="m")
_LARGE = service_pb2.ModelInferRequest(model_name="m", raw_input_contents=[bytes(40 << 20)])


async def _send(stub_of: Any, address: str, request: service_pb2.ModelInferRequest) -> str:
    async with stub_of(address) as stub:
        try:
            return str((await stub.ModelInfer(request, timeout=60)).id)
        except aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"


async def _send_when_there_is_room(stub_of: Any, address: str, request: service_pb2.ModelInferRequest) -> str:
    """Envoy looks at its memory ten times a second: what was freed since it looked is room only when it looks again."""
    async with asyncio.timeout(60):
        while (answer := await _send(stub_of, address, request)).startswith("RESOURCE_EXHAUSTED"):
            await asyncio.sleep(0.05)
    return answer


async def test_more_than_fits_is_refused_and_the_rest_goes_on(
    router: Any, controller: Any, backends: Any, stub_of: Any, wait_for: Any
) -> None:
    (backend,) = await backends("one")
    router.arguments = ("--memory-limit-bytes", str(_LIMIT_BYTES))
    await router.start()
    await controller.apply(1, pools={"m/production@1": [backend]}, routes={"m": "m/production@1"})
    (envoy,) = router.envoys
    idle_bytes = envoy.memory_info().rss
    refusals: Counter[str] = Counter()
    peak_bytes = 0
    uploads = [asyncio.create_task(_send(stub_of, router.address, _LARGE)) for _ in range(16)]
    while not all(upload.done() for upload in uploads):
        answer = await _send(stub_of, router.address, _SMALL)
        refusals[answer] += 1
        peak_bytes = max(peak_bytes, envoy.memory_info().rss)
    # Without a limit all 640 MiB are held at once, since a message is awaited whole before it is sent on.
    assert peak_bytes < idle_bytes + 2.5 * _LIMIT_BYTES
    sentences = {
        answer for answer in (*refusals, *(upload.result() for upload in uploads)) if "--memory-limit-" in answer
    }
    assert all(sentence.startswith("RESOURCE_EXHAUSTED: this router is near the limit") for sentence in sentences)
    assert sentences
    for request in (_SMALL, _LARGE, _SMALL):
        assert await _send_when_there_is_room(stub_of, router.address, request) == "one"
    assert router.envoys == [envoy]
