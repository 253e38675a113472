"""Closing a client ends all that runs, at once and with an error that says so; nothing is left of it."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from moonshot_async import AiohttpTransport, AsyncMoonshot, MemoryTransport, RateLimits, Retry
from moonshot_async.chat_stream import Backoff
from moonshot_async.errors import APIConnectionError, APIError, ClientClosedError
from moonshot_async.fake import FakeMoonshot
from moonshot_async.middleware import Handler
from moonshot_async.wire import Request, Response
from tests.conftest import open_sockets
from tests.held_service import KEY, SSE, Service
from tests.scripted import (
    ASK,
    COMPLETION,
    DELTA,
    FINISH,
    HEAD,
    LAST_CHUNK,
    SSE_HEAD,
    Peer,
    Start,
    answer,
    chunk,
    endless,
    events,
    silent,
)

pytestmark = pytest.mark.usefixtures("no_leaks")

MakeClient = Callable[..., AsyncMoonshot]


def open_files() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


async def outcome_of(coroutine: Awaitable[Any]) -> Any:
    try:
        return await coroutine
    except APIError as error:
        return error


async def read(client: AsyncMoonshot, **options: Any) -> int:
    return len([item async for item in await client.chat.completions.create(**ASK, stream=True, **options)])


async def closed_in_time(client: AsyncMoonshot, tasks: list["asyncio.Task[Any]"]) -> list[Any]:
    """Close the client, and see what its calls come to."""
    started = time.monotonic()
    await client.aclose()
    outcomes = await asyncio.wait_for(asyncio.gather(*map(outcome_of, tasks)), 2)
    assert time.monotonic() - started < 2
    assert client.in_flight == 0
    assert client.is_closed()
    assert [task.cancelling() for task in tasks] == [0] * len(tasks)
    return outcomes


# --- on sockets


@pytest.mark.parametrize("stream", [False, True])
async def test_ten_calls_and_ten_streams_end_when_the_client_is_closed(
    scripted: Start, client_of: MakeClient, stream: bool
) -> None:
    async def play(peer: Peer) -> None:
        if b'"stream":true' not in await peer.request():
            await peer.gone()
        await peer.send(SSE_HEAD + chunk(events(DELTA)))
        await peer.gone()

    server = await scripted(play)
    client = client_of(server)
    streams = [await client.chat.completions.create(**ASK, stream=True) for _ in range(10)]
    reading = [asyncio.create_task(_rest(stream)) for stream in streams]
    calling = [asyncio.create_task(client.chat.completions.create(**ASK)) for _ in range(10)]
    await server.until(lambda: len(server.requests) == 20)
    outcomes = await closed_in_time(client, [*reading, *calling])
    assert [type(outcome) for outcome in outcomes] == [ClientClosedError] * 20
    assert isinstance(outcomes[0], APIConnectionError)
    for outcome in outcomes[:10]:
        assert outcome.partial.choices[0].message.content == "x"
    for broken in streams:
        with pytest.raises(ClientClosedError, match="the client was closed"):
            await anext(broken)
    await server.until(lambda: server.open == 0, seconds=1)


async def _rest(stream: Any) -> int:
    return len([item async for item in stream])


async def test_streams_that_nobody_reads_raise_when_they_are_read_on(scripted: Start, client_of: MakeClient) -> None:
    client = client_of(await scripted(endless))
    stream = await client.chat.completions.create(**ASK, stream=True)
    async with client.chat.completions.with_streaming_response.create(**ASK, stream=True) as response:
        await client.aclose()
        assert client.in_flight == 0
        with pytest.raises(ClientClosedError):
            await _rest(stream)
        with pytest.raises(ClientClosedError):
            async for _ in response.iter_bytes():
                pass


async def half_a_head(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-")
    await peer.gone()


async def half_a_body(peer: Peer) -> None:
    await peer.request()
    await peer.send(HEAD + b"Content-Length: 1000\r\n\r\n{")
    await peer.gone()


async def half_an_error(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 1000\r\n\r\n{")
    await peer.gone()


async def sink(peer: Peer) -> None:
    peer.stop_reading()
    await asyncio.sleep(30)


@pytest.mark.parametrize("play", [silent, half_a_head, half_a_body, half_an_error])
@pytest.mark.parametrize("raw", [False, True])
async def test_a_call_ends_wherever_its_answer_is(
    scripted: Start, client_of: MakeClient, play: Callable[[Peer], Awaitable[None]], raw: bool
) -> None:
    server = await scripted(play)
    client = client_of(server)
    calls = client.chat.completions.with_raw_response if raw else client.chat.completions
    task = asyncio.create_task(calls.create(**ASK))
    await server.until(lambda: len(server.requests) == 1)
    await asyncio.sleep(0.02)
    (outcome,) = await closed_in_time(client, [task])
    assert type(outcome) is ClientClosedError
    assert outcome.__cause__ is None


async def test_an_upload_ends_that_nobody_takes(scripted: Start, client_of: MakeClient) -> None:
    server = await scripted(sink)
    client = client_of(server)
    task = asyncio.create_task(client.files.create(file=("a.txt", b"x" * 8_000_000), purpose="file-extract"))
    await server.until(lambda: bool(server.peers))
    await asyncio.sleep(0.02)
    (outcome,) = await closed_in_time(client, [task])
    assert type(outcome) is ClientClosedError


async def test_connections_that_are_being_made_are_given_up(client_of: MakeClient) -> None:
    client = client_of("http://127.0.0.1:1/v1", max_retries=3)
    tasks = [asyncio.create_task(client.chat.completions.create(**ASK)) for _ in range(5)]
    await asyncio.sleep(0)
    outcomes = await closed_in_time(client, tasks)
    assert {type(outcome) for outcome in outcomes} == {ClientClosedError}


async def test_three_hundred_mixed_calls_leave_nothing(scripted: Start) -> None:
    async def play(peer: Peer) -> None:
        while True:
            asked = await peer.request()
            number = len(peer.received) + peer.number
            if number % 7 == 0:
                await peer.gone()
            elif number % 5 == 0:
                await peer.send(answer(b"{}", status=b"500 Internal Server Error"))
            elif b'"stream":true' not in asked:
                await peer.send(answer(COMPLETION))
            elif number % 3 == 0:
                await peer.send(SSE_HEAD + chunk(events(DELTA)))
                await peer.gone()
            else:
                await peer.send(SSE_HEAD + chunk(events(DELTA, FINISH, b"[DONE]")) + LAST_CHUNK)

    server = await scripted(play)
    before = open_files(), open_sockets(), asyncio.all_tasks()
    client = AsyncMoonshot(api_key=KEY, base_url=server.url, max_retries=1)

    async def call(number: int) -> Any:
        if number % 3 == 0:
            return await read(client)
        if number % 3 == 1:
            async with client.chat.completions.stream(**ASK, resume=number % 2) as stream:
                return await stream.get_final_completion()
        return await client.chat.completions.create(**ASK)

    tasks = [asyncio.create_task(call(number)) for number in range(300)]
    await server.until(lambda: len(server.requests) >= 250)
    for task in tasks[::10]:
        task.cancel()
    await client.aclose()
    outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 2)
    kinds = {type(outcome) for outcome in outcomes if isinstance(outcome, BaseException)}
    assert ClientClosedError in kinds
    assert all(issubclass(kind, (APIError, asyncio.CancelledError)) for kind in kinds)
    await server.until(lambda: server.open == 0, seconds=2)
    assert client.in_flight == 0
    # The tasks of the server that said so end in this turn.
    await asyncio.sleep(0)
    assert (open_files(), open_sockets(), asyncio.all_tasks()) == before


# --- wherever a call waits


async def stuck(*_: Any) -> Any:
    await asyncio.sleep(30)


async def key() -> str:
    await asyncio.sleep(30)
    return KEY


@pytest.mark.parametrize("options", [{"limits": stuck}, {"breaker": stuck}, {"middleware": [stuck]}, {"api_key": key}])
@pytest.mark.parametrize("timeout", [60, None])
async def test_a_call_that_waits_for_a_layer_ends_at_once(options: dict[str, Any], timeout: float | None) -> None:
    client = Service().client(**options, timeout=timeout)
    tasks = [
        asyncio.create_task(client.chat.completions.create(**ASK)),
        asyncio.create_task(client.chat.completions.create(**ASK, stream=True)),
        asyncio.create_task(client.chat.completions.with_raw_response.create(**ASK)),
        asyncio.create_task(client.files.extract(("a.txt", b"words"))),
        asyncio.create_task(client.models.retrieve("kimi-k2.6")),
    ]
    await asyncio.sleep(0.02)
    outcomes = await closed_in_time(client, tasks)
    assert [type(outcome) for outcome in outcomes] == [ClientClosedError] * 5


async def test_a_call_that_waits_before_a_retry_ends_at_once() -> None:
    async def app(request: Request) -> Response:
        return Response(503, {"Retry-After": "30"})

    client = AsyncMoonshot(api_key=KEY, transport=MemoryTransport(app), middleware=[Retry(5)])
    task = asyncio.create_task(client.chat.completions.create(**ASK))
    await asyncio.sleep(0.02)
    (outcome,) = await closed_in_time(client, [task])
    assert type(outcome) is ClientClosedError


async def test_an_answer_that_waits_to_be_resumed_ends_at_once() -> None:
    async def app(request: Request) -> Response:
        return Response(200, SSE, events(DELTA))

    async def sleep(seconds: float) -> None:
        waiting.set()
        await asyncio.sleep(30)

    waiting = asyncio.Event()
    client = AsyncMoonshot(api_key=KEY, transport=MemoryTransport(app))
    manager = client.chat.completions.stream(**ASK, resume=5)
    manager.backoff = Backoff(sleep=sleep, uniform=lambda low, high: high)
    async with manager as stream:
        task = asyncio.create_task(stream.get_final_completion())
        await waiting.wait()
        (outcome,) = await closed_in_time(client, [task])
        assert type(outcome) is ClientClosedError
        with pytest.raises(ClientClosedError):
            await stream.get_final_completion()


async def test_an_answer_that_could_be_resumed_is_not() -> None:
    service = Service()
    client = service.client()
    async with client.chat.completions.stream(**ASK, resume=5) as stream:
        await anext(stream)
        task = asyncio.create_task(stream.get_final_completion())
        await asyncio.sleep(0)
        (outcome,) = await closed_in_time(client, [task])
    assert type(outcome) is ClientClosedError
    assert outcome.partial.choices[0].message.content == "x"
    assert len(service.received) == 1


async def test_a_drain_that_waits_ends_and_tells_what_was_cut() -> None:
    service = Service()
    client = service.client()
    task = asyncio.create_task(client.chat.completions.create(**ASK))
    stream = await client.chat.completions.create(**ASK, stream=True)
    draining = asyncio.create_task(client.drain())
    await asyncio.sleep(0)
    (outcome,) = await closed_in_time(client, [task])
    report = await asyncio.wait_for(draining, 1)
    assert type(outcome) is ClientClosedError
    assert sorted(call.stream for call in report.left) == [False, True]
    assert report.finished == 0
    assert await client.drain()
    await stream.aclose()


# --- among other things that happen


async def test_after_closing_every_call_raises_before_anything_else() -> None:
    seen: list[str] = []

    async def layer(request: Request, call_next: Handler) -> Response:
        seen.append("layer")
        return await call_next(request)

    async def asked() -> str:
        seen.append("key")
        return KEY

    service = Service()
    client = service.client(api_key=asked, middleware=[layer], limits=partial(layer), breaker=partial(layer))
    other = client.with_options(max_retries=0)
    await client.aclose()
    await client.aclose()
    await other.close()
    for closed in (client, other, client.with_options(timeout=1)):
        assert closed.is_closed()
        for options in ({}, {"stream": True}):
            with pytest.raises(ClientClosedError, match="The client was closed"):
                await closed.chat.completions.create(**ASK, **options)
        with pytest.raises(ClientClosedError):
            await closed.files.create(file=Path("/nowhere/at/all"), purpose="file-extract")
    assert seen == []
    assert service.received == []


async def test_who_cancels_a_call_that_is_being_closed_has_cancelled_it() -> None:
    for first in ("cancel", "close"):
        client = Service().client(limits=stuck)
        task = asyncio.create_task(client.chat.completions.create(**ASK))
        stream = asyncio.create_task(client.chat.completions.create(**ASK, stream=True))
        several = asyncio.create_task(client.files.extract(("a.txt", b"words")))
        tasks = (task, stream, several)
        await asyncio.sleep(0.02)
        if first == "cancel":
            for each in tasks:
                each.cancel()
        closing = asyncio.ensure_future(client.aclose())
        if first == "close":
            await asyncio.sleep(0)
            for each in tasks:
                each.cancel()
        await asyncio.gather(*tasks, closing, return_exceptions=True)
        assert [each.cancelled() for each in tasks] == [True] * 3


async def test_a_timeout_around_a_call_is_not_confused_by_closing() -> None:
    client = Service().client(limits=stuck)

    async def call() -> str:
        try:
            async with asyncio.timeout(30):
                await client.chat.completions.create(**ASK)
        except ClientClosedError:
            await asyncio.sleep(0)
            return "closed"
        raise AssertionError("it was answered")

    async with asyncio.TaskGroup() as group:
        task = group.create_task(call())
        await asyncio.sleep(0.01)
        await client.aclose()
    assert task.result() == "closed"


async def test_a_layer_that_keeps_the_cancellation_to_itself_ends_the_call_as_it_likes() -> None:
    async def stubborn(request: Request, call_next: Handler) -> Response:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            return Response(200, [("Content-Type", "application/json")], COMPLETION)
        raise AssertionError("nobody closed it")

    client = Service().client(middleware=[stubborn])
    task = asyncio.create_task(client.chat.completions.create(**ASK))
    await asyncio.sleep(0.01)
    (outcome,) = await closed_in_time(client, [task])
    assert outcome.choices[0].message.content == "x"


async def test_a_layer_may_close_its_own_client() -> None:
    async def closing(request: Request, call_next: Handler) -> Response:
        await client.aclose()
        await asyncio.sleep(0)
        seen.append("closed")
        return await call_next(request)

    seen: list[str] = []
    client = Service().client(middleware=[closing])
    with pytest.raises(ClientClosedError):
        await client.chat.completions.create(**ASK)
    assert seen == ["closed"]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_call_within_a_call_ends_too() -> None:
    async def asking(request: Request, call_next: Handler) -> Response:
        await inner.chat.completions.create(**ASK)
        return await call_next(request)

    inner = Service().client()
    client = inner.with_options(middleware=[asking])
    task = asyncio.create_task(client.chat.completions.create(**ASK))
    await asyncio.sleep(0.01)
    assert client.in_flight == 2
    (outcome,) = await closed_in_time(client, [task])
    assert type(outcome) is ClientClosedError


@pytest.mark.parametrize("layers", [{}, {"limits": stuck}])
def test_calls_in_another_thread_end_too(layers: dict[str, Any]) -> None:
    arrived = threading.Event()

    async def app(request: Request) -> Response:
        arrived.set()
        await asyncio.sleep(30)
        return Response(200)

    client = AsyncMoonshot(api_key=KEY, transport=MemoryTransport(app), **layers)
    outcomes: list[Any] = []

    async def call() -> None:
        asyncio.get_running_loop().call_later(0.01, arrived.set)
        outcomes.append(await outcome_of(client.chat.completions.create(**ASK)))

    thread = threading.Thread(target=lambda: asyncio.run(call()))
    thread.start()
    assert arrived.wait(5)
    asyncio.run(client.aclose())
    thread.join(2)
    assert not thread.is_alive()
    assert type(outcomes[0]) is ClientClosedError


# --- what was open


async def test_a_closed_client_keeps_no_place_of_shared_limits() -> None:
    limits, service = RateLimits(concurrency=1), Service()
    first, second = service.client(limits=limits), service.client(limits=limits)
    stream = await first.chat.completions.create(**ASK, stream=True)
    waiting = asyncio.create_task(second.chat.completions.create(**ASK, stream=True))
    await asyncio.sleep(0)
    assert limits.snapshot().in_flight == 1
    await first.aclose()
    assert first.in_flight == 0
    await (await asyncio.wait_for(waiting, 2)).aclose()
    assert limits.snapshot().in_flight == 0
    with pytest.raises(ClientClosedError, match="The answer broke off"):
        await anext(stream)


async def test_a_closed_client_keeps_no_place_on_sockets_either(scripted: Start, client_of: MakeClient) -> None:
    limits = RateLimits(concurrency=2)
    client = client_of(await scripted(endless), limits=limits)
    stream = await client.chat.completions.create(**ASK, stream=True)
    async with client.chat.completions.stream(**ASK, resume=1) as other:
        assert limits.snapshot().in_flight == 2
        await client.aclose()
        assert (limits.snapshot().in_flight, client.in_flight) == (0, 0)
        for left in (stream, other):
            with pytest.raises(ClientClosedError):
                [item async for item in left]


class Keeping:
    """A transport that knows nothing of bodies, and cannot always be closed."""

    def __init__(self) -> None:
        self.fails = False

    async def send(self, request: Request) -> Response:
        return Response(200, SSE, events(DELTA), request=request)

    async def aclose(self) -> None:
        if self.fails:
            raise OSError("not closed")


async def test_a_body_that_closing_cut_does_not_look_whole() -> None:
    transport = Keeping()
    client = AsyncMoonshot(api_key=KEY, transport=transport)
    transport.fails = True
    async with client.chat.completions.with_streaming_response.create(**ASK, stream=True) as response:
        with pytest.raises(OSError, match="not closed"):
            await client.aclose()
        with pytest.raises(ClientClosedError):
            [piece async for piece in response.iter_bytes()]


async def test_what_is_open_in_another_thread_is_closed_there() -> None:
    limits, service = RateLimits(concurrency=1), Keeping()
    client = AsyncMoonshot(api_key=KEY, transport=service, limits=limits)
    opened, closed = threading.Event(), threading.Event()
    seen: list[Any] = []

    async def hold() -> None:
        stream = await client.chat.completions.create(**ASK, stream=True)
        opened.set()
        await asyncio.to_thread(closed.wait, 2)
        seen.append((limits.snapshot().in_flight, type(await outcome_of(anext(stream)))))

    thread = threading.Thread(target=asyncio.run, args=(hold(),))
    thread.start()
    await asyncio.to_thread(opened.wait, 2)
    await client.aclose()
    closed.set()
    await asyncio.to_thread(thread.join)
    assert seen == [(0, ClientClosedError)]


def step(client: AsyncMoonshot) -> None:
    """Close a client where no event loop runs."""
    with pytest.raises(StopIteration):
        client.aclose().send(None)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_is_closed_between_the_runs_of_a_loop(stream: bool) -> None:
    async def app(request: Request) -> Response:
        if not request.stream:
            await asyncio.sleep(30)
        return Response(200, SSE, events(DELTA))

    limits = RateLimits(concurrency=1)
    client = AsyncMoonshot(api_key=KEY, transport=MemoryTransport(app), limits=limits)
    with asyncio.Runner() as runner:
        call = runner.get_loop().create_task(client.chat.completions.create(**ASK, stream=stream))
        runner.run(asyncio.sleep(0.01))
        assert client.in_flight == 1
        step(client)
        step(client)
        assert client.is_closed()
        if stream:
            assert limits.snapshot().in_flight == 0
            assert isinstance(runner.run(outcome_of(anext(call.result()))), ClientClosedError)
        else:
            assert isinstance(runner.run(outcome_of(call)), ClientClosedError)
        assert client.in_flight == limits.snapshot().in_flight == 0


def test_a_client_on_sockets_is_closed_without_an_event_loop() -> None:
    async def call() -> None:
        async with FakeMoonshot().serve() as url:
            await client.with_options(base_url=url).models.list()

    client = AsyncMoonshot(api_key=KEY, transport=AiohttpTransport())
    with asyncio.Runner() as runner:
        runner.run(call())
        step(client)
        assert isinstance(runner.run(outcome_of(client.models.list())), ClientClosedError)
    step(AsyncMoonshot(api_key=KEY))
