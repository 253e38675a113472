"""The record of the attempts, wherever the error comes from."""

import asyncio
import copy
import pickle
from collections.abc import AsyncIterator
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, MemoryTransport, Retry, Stream
from moonshot_async.clocks import Timeout
from moonshot_async.errors import (
    APIError,
    APIStatusError,
    APITimeoutError,
    Attempt,
    CircuitOpenError,
    LimitReachedError,
)
from moonshot_async.middleware import Handler
from moonshot_async.middleware.retry_budget import RetryBudget
from moonshot_async.pipeline import compose, exchange
from moonshot_async.wire import Request, Response
from tests.middleware.retry_world import ASK, KEY, OK, URL, World, notes_of

COMPLETION = b'{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}]}'
DELTA = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}\n\n'
ERROR = b'data: {"error":{"message":"stream failed"}}\n\n'
SSE = {"Content-Type": "text/event-stream"}
REFUSED = "InternalServerError 503"


async def silence(piece: bytes) -> AsyncIterator[bytes]:
    yield piece
    await asyncio.Event().wait()


async def breaks(piece: bytes) -> AsyncIterator[bytes]:
    yield piece
    raise ConnectionResetError("reset")


def numbers(error: APIError) -> list[int]:
    return [attempt.number for attempt in error.attempts]


def causes(error: APIError) -> list[str]:
    return [attempt.error for attempt in error.attempts]


@pytest.mark.parametrize("failures", [0, 1, 2])
@pytest.mark.parametrize(
    ("body", "name"),
    [
        (lambda: COMPLETION[:-5], "APIResponseValidationError"),
        (lambda: b'{"error":{"message":"so sorry"}}', "APIError"),
        (lambda: silence(COMPLETION[:5]), "APITimeoutError"),
        (lambda: breaks(COMPLETION[:5]), "StreamInterruptedError"),
    ],
)
async def test_an_answer_that_is_no_good_tells_of_the_attempts_before_it(body: Any, name: str, failures: int) -> None:
    world = World(*[503] * failures, lambda: Response(200, {}, body()))
    with pytest.raises(APIError) as caught:
        await world.client().chat.completions.create(**ASK, timeout=Timeout(total=None, read=0.02))

    assert numbers(caught.value) == list(range(1, failures + 2))
    assert causes(caught.value) == [REFUSED] * failures + [name]
    assert len(world.received) == failures + 1
    assert 0.0 <= caught.value.attempts[-1].elapsed < 5.0


@pytest.mark.parametrize("failures", [0, 1])
@pytest.mark.parametrize(
    ("body", "name"),
    [
        (lambda: DELTA, "StreamInterruptedError"),
        (lambda: DELTA + ERROR, "APIError"),
        (lambda: DELTA + b"data: {]\n\n", "APIResponseValidationError"),
        (lambda: silence(DELTA), "APITimeoutError"),
        (lambda: breaks(DELTA), "StreamInterruptedError"),
    ],
)
async def test_a_stream_that_goes_wrong_is_not_sent_again_and_tells_of_the_attempts_before_it(
    body: Any, name: str, failures: int
) -> None:
    world = World(*[503] * failures, lambda: Response(200, SSE, body()))
    timeout = Timeout(total=None, read=0.02)
    stream = await world.client().chat.completions.create(**ASK, stream=True, timeout=timeout)
    with pytest.raises(APIError) as caught:
        async for _ in stream:
            pass
    with pytest.raises(APIError) as again:
        await anext(stream)

    assert causes(caught.value) == causes(again.value) == [REFUSED] * failures + [name]
    assert len(world.received) == failures + 1


@pytest.mark.parametrize("body", [silence, breaks])
async def test_a_body_read_piece_by_piece_tells_of_the_attempts_before_it(body: Any) -> None:
    world = World(503, lambda: Response(200, {}, body(b"x")))
    completions = world.client().chat.completions.with_streaming_response
    async with completions.create(**ASK, timeout=Timeout(total=None, read=0.02)) as response:
        with pytest.raises(APIError) as caught:
            _ = [piece async for piece in response.iter_bytes()]

    assert numbers(caught.value) == [1, 2]


async def test_a_document_instead_of_a_stream_tells_of_the_attempts_before_it() -> None:
    world = World(503, lambda: Response(200, {"Content-Type": "application/json"}, COMPLETION))
    with pytest.raises(APIError) as caught:
        await world.client().chat.completions.create(**ASK, stream=True)

    assert numbers(caught.value) == [1, 2]


async def test_a_stream_that_was_closed_tells_of_its_attempts() -> None:
    stream = await World(503, lambda: Response(200, SSE, DELTA)).client().chat.completions.create(**ASK, stream=True)
    assert isinstance(stream, Stream)
    await stream.aclose()
    with pytest.raises(APIError) as caught:
        await anext(stream)

    assert numbers(caught.value) == [1, 2]


async def test_a_transport_that_does_not_name_the_request_loses_no_attempt() -> None:
    class Forgetful(MemoryTransport):
        async def send(self, request: Request) -> Response:
            response = await super().send(request)
            response.request = None
            return response

    world = World(503, lambda: Response(200, {}, b"{"))
    with pytest.raises(APIError) as caught:
        await world.client(transport=Forgetful(world.app)).chat.completions.create(**ASK)

    assert numbers(caught.value) == [1, 2]


@pytest.mark.parametrize(
    "refused",
    [
        CircuitOpenError("open", retry_after=1.0),
        LimitReachedError("full", limit="rpm", needed=1, allowed=1, retry_after=1.0),
    ],
)
async def test_a_layer_that_does_not_let_a_later_attempt_through_loses_no_attempt(refused: APIError) -> None:
    async def layer(request: Request, call_next: Handler) -> Response:
        if request.attempt == 2:
            assert [attempt.error for attempt in request.earlier] == [REFUSED]
            raise refused
        return await call_next(request)

    world = World(503)
    with pytest.raises(type(refused)) as caught:
        await compose([world.retry(5), layer], exchange(MemoryTransport(world.app)))(Request("GET", URL))

    assert causes(caught.value) == [REFUSED, type(refused).__name__]


async def test_a_call_that_is_stopped_from_outside_loses_no_attempt() -> None:
    async def layer(request: Request, call_next: Handler) -> Response:
        # Calls within the call have a record of their own.
        with pytest.raises(APIStatusError):
            await other.chat.completions.create(**ASK)
        if request.attempt == 3:
            await asyncio.Event().wait()
        return await call_next(request)

    memory = MemoryTransport(World(503).app)
    other = AsyncMoonshot(api_key=KEY, transport=memory, max_retries=0)
    client = AsyncMoonshot(api_key=KEY, transport=memory, middleware=[Retry(5, initial=0.0), layer])
    with pytest.raises(APITimeoutError, match="attempt 3") as caught:
        await client.chat.completions.create(**ASK, timeout=0.2)

    assert causes(caught.value) == [REFUSED, REFUSED, "APITimeoutError"]
    assert 0.05 < caught.value.attempts[-1].elapsed < 1.0


async def test_a_layer_that_holds_the_first_attempt_leaves_one_record() -> None:
    async def layer(request: Request, call_next: Handler) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(APITimeoutError) as caught:
        await World(OK).client(middleware=[layer]).chat.completions.create(**ASK, timeout=0.02)

    assert numbers(caught.value) == [1]


async def test_a_retry_around_a_retry_counts_on() -> None:
    world = World(503)
    with pytest.raises(APIError) as caught:
        await compose([world.retry(1), world.retry(1)], exchange(MemoryTransport(world.app)))(Request("GET", URL))

    assert [request.attempt for request in world.received] == [1, 2, 2, 3]
    assert numbers(caught.value) == [1, 2]


@pytest.mark.parametrize("twin_of", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
async def test_a_note_is_there_once_in_copies_too(twin_of: Any) -> None:
    world = World(503)
    layers = [world.retry(budget=RetryBudget(0.0, 0.0)) for _ in range(2)]
    with pytest.raises(APIError) as caught:
        await compose(layers, exchange(MemoryTransport(world.app)))(Request("GET", URL))

    twin = twin_of(twin_of(caught.value))
    assert notes_of(twin) == notes_of(caught.value)
    assert len(notes_of(twin)) == 1
    assert repr(twin.attempts) == repr(caught.value.attempts)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_record_survives_every_pickle(protocol: int) -> None:
    attempt = Attempt(2, REFUSED, 0.5, 1.25)

    twins = pickle.loads(pickle.dumps(attempt, protocol)), copy.copy(attempt)

    assert {repr(one) for one in (attempt, *twins)} == {
        "Attempt(2, 'InternalServerError 503', elapsed=0.500, waited=1.250)"
    }
