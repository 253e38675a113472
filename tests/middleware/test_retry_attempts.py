"""The record of the attempts, wherever the error comes from."""

import asyncio
import copy
import pickle
from collections.abc import AsyncIterator
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, MemoryTransport, RateLimits, Retry, Stream
from moonshot_async.clocks import Timeout
from moonshot_async.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    Attempt,
    CircuitOpenError,
    Clock,
    LimitReachedError,
)
from moonshot_async.exchange import compose, exchange
from moonshot_async.middleware import Handler
from moonshot_async.middleware.retry_budget import RetryBudget
from moonshot_async.wire import Request, Response
from tests.middleware.retry_world import ASK, KEY, OK, URL, World, failure_of, notes_of, refusal

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
async def test_a_layer_that_does_not_let_a_later_attempt_through_loses_no_attempt_and_adds_none(
    refused: APIError,
) -> None:
    async def layer(request: Request, call_next: Handler) -> Response:
        if request.attempt == 2:
            assert [attempt.error for attempt in request.earlier] == [REFUSED]
            raise refused
        return await call_next(request)

    world = World(503)
    with pytest.raises(type(refused)) as caught:
        await compose([world.retry(5), layer], exchange(MemoryTransport(world.app)))(Request("GET", URL))

    assert causes(caught.value) == [REFUSED]
    assert caught.value.attempts[0].waited == 0.5


def timed_out(clock: Clock, *, sent: bool = False) -> APITimeoutError:
    error = APITimeoutError(clock=clock)
    error.sent = sent
    return error


@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (CircuitOpenError("open", retry_after=1.0), 0),
        (LimitReachedError("full", limit="rpm", needed=1, allowed=1, retry_after=1.0), 0),
        (timed_out("total"), 0),
        (timed_out("deadline"), 0),
        (timed_out("pool", sent=True), 0),
        (timed_out("total", sent=True), 1),
        (timed_out("first_token"), 1),
        (APIError("unknown"), 1),
    ],
)
async def test_what_ended_before_it_was_sent_is_no_attempt(error: APIError, sent: int) -> None:
    assert len((await failure_of(World(error))).attempts) == sent


async def test_what_was_not_sent_is_tried_as_often_as_allowed_where_it_says_that_it_passes() -> None:
    class FullError(LimitReachedError):
        retryable = True

    full, tried = FullError("full", limit="rpm", needed=1, allowed=1), []

    async def layer(request: Request, call_next: Handler) -> Response:
        tried.append(request.attempt)
        if len(tried) == 2:
            return await call_next(request)
        raise full

    world = World(503)
    with pytest.raises(FullError) as caught:
        await compose([world.retry(2), layer], exchange(MemoryTransport(world.app)))(Request("GET", URL))

    assert tried == [1, 1, 2]
    assert [(attempt.number, attempt.error, attempt.waited) for attempt in caught.value.attempts] == [(1, REFUSED, 1.0)]


async def test_a_call_whose_time_runs_out_in_the_queue_of_a_limiter_has_no_attempt() -> None:
    world, one = World(503), asyncio.Event()

    async def app(request: Request) -> Response:
        if b"first" in request.body:  # type: ignore[operator]
            one.set()
            await asyncio.Event().wait()
        return await world.app(request)

    limits = RateLimits(concurrency=1)
    client = AsyncMoonshot(api_key=KEY, transport=MemoryTransport(app), limits=limits, max_retries=0)
    first = asyncio.create_task(client.chat.completions.create(**ASK, extra_body={"x": "first"}))
    await one.wait()
    with pytest.raises(APITimeoutError, match="waited for the limits") as caught:
        await client.chat.completions.create(**ASK, timeout=0.05)
    first.cancel()
    await asyncio.wait([first])

    assert caught.value.attempts == ()
    assert world.received == []


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

    assert [request.attempt for request in world.received] == numbers(caught.value) == [1, 2, 3, 4]
    assert [attempt.waited for attempt in caught.value.attempts] == [0.5, 0.5, 0.5, 0.0]
    assert causes(caught.value) == [REFUSED] * 4


async def test_a_retry_around_a_retry_that_is_stopped_from_outside_lists_each_attempt_once() -> None:
    async def app(request: Request) -> Response:
        if request.attempt == 4:
            await asyncio.Event().wait()
        return Response(503)

    async def layer(request: Request, call_next: Handler) -> Response:
        # The one who stops it is outside: the transport keeps to no deadline here.
        return await call_next(request.replace(deadline=None))

    layers = [Retry(1, initial=0.0), Retry(1, initial=0.0), layer]
    client = AsyncMoonshot(api_key=KEY, transport=MemoryTransport(app), middleware=layers)
    with pytest.raises(APITimeoutError, match="attempt 4") as caught:
        await client.chat.completions.create(**ASK, timeout=0.2)

    assert causes(caught.value) == [REFUSED] * 3 + ["APITimeoutError"]
    assert numbers(caught.value) == [1, 2, 3, 4]


async def test_an_exception_that_is_raised_for_one_call_after_the_other_lists_those_of_the_last() -> None:
    error = APIConnectionError()
    assert numbers(await failure_of(World(error), 2)) == [1, 2, 3]
    assert numbers(await failure_of(World(error), 0)) == [1]


@pytest.mark.parametrize(
    ("outcome", "budget", "left", "said"),
    [
        (503, RetryBudget(0.0, 0.0), None, "the budget for retries is used up"),
        (503, None, 0.3, r"a wait of 0.5 s would outlast the 0.05 s that the call has left"),
        (refusal(503, {"Retry-After": "300"}), None, None, "the service asks to wait 300 s, and no more than 120 s"),
    ],
)
@pytest.mark.parametrize("twin_of", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
async def test_a_note_is_there_once_in_copies_too(
    twin_of: Any, outcome: Any, budget: Any, left: float | None, said: str
) -> None:
    world = World(outcome)
    layers = [world.retry(budget=budget, initial=initial) for initial in (2.0, 0.5)]
    request = Request("GET", URL, deadline=None if left is None else world.now + left)
    with pytest.raises(APIError) as caught:
        await compose(layers, exchange(MemoryTransport(world.app)))(request)

    assert said in notes_of(caught.value)[0]
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
