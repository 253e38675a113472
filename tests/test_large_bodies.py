"""What large requests and answers take of memory: how many copies there are of what is large."""

import json
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from moonshot_async import APIConnectionError, AsyncMoonshot, Request, Response, Retry
from moonshot_async.types.chat import ChatCompletionMessage

LARGE = 4 * 1024 * 1024
IMAGE: Any = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * LARGE}}
# Of the large text itself, so that 2.2 is two of them and what else there is.
A_LITTLE = 0.2


def answer(content: str, **more: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return json.dumps({"id": "c", "choices": [choice], **more}).encode()


SMALL = answer("ok")


class Network:
    """A transport that keeps nothing of what it is given, and answers in pieces."""

    def __init__(self, body: bytes = SMALL, failures: int = 0) -> None:
        self.body = body
        self.failures = failures
        self.lengths: list[int] = []

    async def send(self, request: Request) -> Response:
        self.lengths.append(request.length)
        if len(self.lengths) <= self.failures:
            raise APIConnectionError(message="refused", request=request.redacted())
        view = memoryview(self.body)
        pieces = (bytes(view[start : start + 65_536]) for start in range(0, len(view), 65_536))
        kind = "text/event-stream" if request.stream else "application/json"
        return Response(200, {"Content-Type": kind}, pieces, request=request)

    async def aclose(self) -> None: ...


def client_of(network: Network) -> AsyncMoonshot:
    async def at_once(seconds: float) -> None: ...

    retry = Retry(sleep=at_once)
    return AsyncMoonshot(api_key="sk-canary-01", base_url="http://t/v1", transport=network, middleware=[retry])


async def copies(call: Callable[[], Awaitable[object]]) -> float:
    """How often the large text was in memory in the worst moment of a call, beside what there was before."""
    tracemalloc.start()
    try:
        await call()
        return tracemalloc.get_traced_memory()[1] / LARGE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("failures", [0, 2])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_large_image_is_in_memory_as_the_body_that_is_sent_and_no_more(failures: int, stream: bool) -> None:
    network = Network(failures=failures)
    async with client_of(network) as client:
        if stream:
            network.body = b"data: [DONE]\n\n"

        async def call() -> None:
            messages: Any = [{"role": "user", "content": [IMAGE, {"type": "text", "text": "What is shown?"}]}]
            got = await client.chat.completions.create(model="m", messages=messages, stream=stream)
            if stream:
                await got.close()  # type: ignore[union-attr]  # it is a stream

        # While it is made the encoder has half of it in reserve.
        assert await copies(call) < 1.5 + A_LITTLE
    assert len(network.lengths) == failures + 1
    assert min(network.lengths) > LARGE


@pytest.mark.parametrize("kind", ["dict", "struct"])
async def test_a_large_history_is_in_memory_as_the_body_that_is_sent_and_no_more(kind: str) -> None:
    make: Any = dict if kind == "dict" else ChatCompletionMessage
    messages = [make(role="assistant", content="x" * (LARGE // 1000)) for _ in range(1000)]
    async with client_of(Network()) as client:
        assert await copies(lambda: client.chat.completions.create(model="m", messages=messages)) < 1.5 + A_LITTLE


@pytest.mark.parametrize(("more", "most"), [({}, 2), ({"mood": "calm"}, 2), ({"created": None}, 2)])
async def test_a_large_answer_is_in_memory_as_bytes_and_as_text(more: Any, most: int) -> None:
    async with client_of(Network(answer("x" * LARGE, **more))) as client:
        call = client.chat.completions.create
        assert await copies(lambda: call(model="m", messages=[{"role": "user", "content": "Hi"}])) < most + A_LITTLE
