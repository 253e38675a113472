"""Draining a client: no new calls, those in flight go on to their end, and a report tells of what was left."""

import asyncio
import contextlib
import contextvars
import gc
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, MemoryTransport, Retry
from moonshot_async.drain import CallInFlight, DrainReport, call_in
from moonshot_async.errors import (
    APIConnectionError,
    APIError,
    BadRequestError,
    ClientClosedError,
    ConfigurationError,
    InternalServerError,
    NotFoundError,
)
from moonshot_async.fake import FakeMoonshot
from moonshot_async.middleware import Handler
from moonshot_async.wire import Request, Response
from tests.held_service import JSON, KEY, SSE, Service
from tests.scripted import (
    ASK,
    COMPLETION,
    DELTA,
    FINISH,
    LAST_CHUNK,
    SSE_HEAD,
    Peer,
    Start,
    answer,
    chunk,
    endless,
    events,
)


@pytest.fixture
async def service() -> Service:
    return Service()


async def asked(client: AsyncMoonshot, service: Service, **options: Any) -> "asyncio.Task[Any]":
    """A call that has arrived at the service."""
    service.arrived.clear()
    task = asyncio.create_task(client.chat.completions.create(**ASK, **options))
    await service.arrived.wait()
    return task


async def drained_until(client: AsyncMoonshot, end: Callable[[], Any]) -> DrainReport:
    """Drain, and do something while it waits."""
    draining = asyncio.create_task(client.drain())
    for _ in range(3):
        await asyncio.sleep(0)
    assert not draining.done()
    ended = end()
    if isinstance(ended, Awaitable):
        await ended
    return await asyncio.wait_for(draining, 2)


# --- what it waits for


async def test_nothing_in_flight_is_drained_at_once(service: Service) -> None:
    report = await service.client().drain()
    assert report == DrainReport(0, ())
    assert report
    assert report.complete


async def test_a_call_in_flight_is_answered(service: Service) -> None:
    client = service.client()
    tasks = [await asked(client, service), await asked(client.with_options(timeout=5), service)]
    assert client.in_flight == 2
    report = await drained_until(client, service.go.set)
    assert report == DrainReport(2, ())
    for task in tasks:
        assert (await task).choices[0].message.content == "x"
    assert client.in_flight == 0
    assert not client.is_closed()


async def test_what_is_left_when_time_is_up_is_told_without_secrets(service: Service) -> None:
    client = service.client(default_query={"secret": "sk-in-query"})
    task = await asked(client, service)
    stream = await client.chat.completions.create(**ASK, stream=True)
    started = time.monotonic()
    report = await client.drain(0.05)
    assert 0.04 < time.monotonic() - started < 1
    assert not report
    assert not report.complete
    assert report.finished == 0
    of_call, of_stream = report.left
    assert 0.05 <= of_stream.age <= of_call.age < 2
    assert of_call == CallInFlight("POST", "/v1/chat/completions", of_call.age, 1, False)
    assert of_stream == CallInFlight("POST", "/v1/chat/completions", of_stream.age, 1, True)
    assert "sk-" not in repr(report)
    assert "Canary" not in repr(report)
    service.go.set()
    await stream.aclose()
    assert await client.drain(5)
    assert (await task).choices


async def test_to_wait_no_time_is_to_look(service: Service) -> None:
    client = service.client()
    task = await asked(client, service)
    assert len((await client.drain(0)).left) == 1
    service.go.set()
    await task
    assert await client.drain(0)


async def test_a_deadline_around_it_counts(service: Service) -> None:
    client = service.client()
    await asked(client, service)
    for timeout in (None, 30):
        with client.deadline(0.05):
            assert len((await client.drain(timeout)).left) == 1
    with client.deadline(30):
        assert not await client.drain(0.01)
    await client.aclose()


@pytest.mark.parametrize("timeout", [-1, True, float("nan"), "5"])
async def test_a_time_that_cannot_be_meant_is_refused(timeout: Any, service: Service) -> None:
    client = service.client()
    with pytest.raises(ConfigurationError, match="drain: timeout"):
        await client.drain(timeout)
    service.go.set()
    assert (await client.chat.completions.create(**ASK)).choices


# --- when a stream has ended


async def read(stream: Any, service: Service) -> None:
    service.go.set()
    assert len([item async for item in stream]) == 1


async def closed(stream: Any, service: Service) -> None:
    await stream.aclose()


async def left(stream: Any, service: Service) -> None:
    service.go.set()
    async for _ in stream:
        break


async def cancelled(stream: Any, service: Service) -> None:
    task = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("end", [read, closed, left, cancelled])
async def test_a_stream_is_in_flight_until_it_ended(end: Callable[[Any, Service], Any], service: Service) -> None:
    client = service.client()
    stream = await client.chat.completions.create(**ASK, stream=True)
    await anext(stream)
    assert await drained_until(client, lambda: end(stream, service)) == DrainReport(1, ())


async def test_a_stream_that_is_dropped_is_in_flight_no_more(service: Service) -> None:
    client = service.client()
    held = [await client.chat.completions.create(**ASK, stream=True) for _ in range(3)]
    assert client.in_flight == 3
    gc.disable()
    try:
        assert await drained_until(client, held.clear) == DrainReport(3, ())
    finally:
        gc.enable()


async def test_a_stream_that_breaks_off_is_in_flight_no_more(scripted: Start, client_of: Any) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD + chunk(events(DELTA)))

    client = client_of(await scripted(play))
    with pytest.raises(APIConnectionError):
        async for _ in await client.chat.completions.create(**ASK, stream=True):
            assert client.in_flight == 1
    assert client.in_flight == 0


async def test_the_events_of_a_stream_are_in_flight_until_its_block_is_left(service: Service) -> None:
    client = service.client()
    async with client.chat.completions.stream(**ASK) as stream:
        await anext(stream)
        assert client.in_flight == 1
    assert client.in_flight == 0


async def test_a_document_instead_of_a_stream_is_in_flight_no_more() -> None:
    async def app(request: Request) -> Response:
        return Response(200, JSON, COMPLETION)

    client = AsyncMoonshot(api_key=KEY, transport=MemoryTransport(app))
    with pytest.raises(APIError):
        await client.chat.completions.create(**ASK, stream=True)
    assert client.in_flight == 0


# --- the other forms of a call


async def test_raw_responses_are_in_flight_until_they_were_read(service: Service) -> None:
    client = service.client()
    service.go.set()
    raw = await client.chat.completions.with_raw_response.create(**ASK)
    assert client.in_flight == 0
    assert raw.parse().choices
    raw_stream = await client.chat.completions.with_raw_response.create(**ASK, stream=True)
    assert client.in_flight == 1
    assert len([item async for item in raw_stream.parse()]) == 2
    assert client.in_flight == 0


async def test_streaming_responses_are_in_flight_until_they_were_closed(service: Service) -> None:
    client = service.client()
    service.go.set()
    create = client.chat.completions.with_streaming_response.create
    async with create(**ASK) as response:
        assert client.in_flight == 1
        assert len((await client.drain(0)).left) == 1
        assert (await response.parse()).choices
        assert client.in_flight == 0
    client = service.client()
    async with client.chat.completions.with_streaming_response.create(**ASK, stream=True) as response:
        stream = await response.parse()
        await anext(stream)
        assert client.in_flight == 1
    assert client.in_flight == 0


async def test_a_streaming_response_that_is_dropped_is_in_flight_no_more(service: Service) -> None:
    client = service.client()
    entering = client.chat.completions.with_streaming_response.create(**ASK, stream=True)
    response = await entering.__aenter__()
    assert response.status_code == 200
    assert client.in_flight == 1
    gc.disable()
    try:
        del response, entering
        assert client.in_flight == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("outcome", [400, 503, ConnectionError("reset"), b"no json"])
async def test_a_call_that_failed_is_in_flight_no_more(outcome: Any) -> None:
    async def app(request: Request) -> Response:
        if isinstance(outcome, Exception):
            raise outcome
        return Response(outcome) if isinstance(outcome, int) else Response(200, JSON, outcome)

    client = AsyncMoonshot(api_key=KEY, transport=MemoryTransport(app), max_retries=0)
    for stream in (False, True):
        for form in (client.chat.completions, client.chat.completions.with_raw_response):
            with contextlib.suppress(APIError):
                answered: Any = await form.create(**ASK, stream=stream)
                answered.parse()
            assert client.in_flight == 0


async def test_a_layer_that_fails_or_is_cancelled_wedges_nothing(service: Service) -> None:
    async def layer(request: Request, call_next: Handler) -> Response:
        if request.stream:
            raise KeyError("of mine")
        await asyncio.sleep(30)
        return await call_next(request)

    client = service.client(middleware=[layer])
    with pytest.raises(KeyError):
        await client.chat.completions.create(**ASK, stream=True)
    task = asyncio.create_task(client.chat.completions.create(**ASK))
    await asyncio.sleep(0)
    assert client.in_flight == 1
    report = await drained_until(client, task.cancel)
    assert report == DrainReport(1, ())
    assert task.cancelled()


async def test_an_upload_goes_on_to_its_end(tmp_path: Path) -> None:
    gate, begun = asyncio.Event(), asyncio.Event()
    fake = FakeMoonshot()

    async def app(request: Request) -> Response:
        begun.set()
        await gate.wait()
        return await fake(request)

    client = AsyncMoonshot(api_key=KEY, transport=MemoryTransport(app))
    path = tmp_path / "a.txt"
    path.write_text("words")
    uploading = asyncio.create_task(client.files.create(file=path, purpose="file-extract"))
    await begun.wait()
    assert [call.path for call in (await client.drain(0)).left] == ["/v1/files"]
    assert await drained_until(client, gate.set)
    assert (await uploading).id


# --- no new calls


def refusing(seen: list[str], own_retry: bool) -> dict[str, Any]:
    """Settings whose every part takes note of being used."""

    async def key() -> str:
        seen.append("key")
        return KEY

    async def layer(request: Request, call_next: Handler) -> Response:
        seen.append("layer")
        return await call_next(request)

    async def limits(request: Request, call_next: Handler) -> Response:
        return await layer(request, call_next)

    async def breaker(request: Request, call_next: Handler) -> Response:
        return await layer(request, call_next)

    own = [layer, Retry()] if own_retry else [layer]
    return {"api_key": key, "middleware": own, "limits": limits, "breaker": breaker}


@pytest.mark.parametrize("own_retry", [False, True])
async def test_no_new_call_of_any_client_on_these_connections_is_sent(service: Service, own_retry: bool) -> None:
    seen: list[str] = []
    client = service.client(**refusing(seen, own_retry))
    other = client.with_options(timeout=5)
    made_before = other.chat.completions
    await client.drain()
    newer = other.with_options(max_retries=0)
    for calls in (made_before, client.chat.completions, newer.chat.completions):
        for options in ({}, {"stream": True}):
            with pytest.raises(ClientClosedError, match=r"Not sent: the client is being drained") as caught:
                await calls.create(**ASK, **options)
            assert not caught.value.retryable
            assert caught.value.request is not None
            assert caught.value.attempts == ()
    with pytest.raises(ClientClosedError):
        await client.models.list()
    with pytest.raises(ClientClosedError):
        await client.chat.completions.with_raw_response.create(**ASK)
    with pytest.raises(ClientClosedError):
        async with client.chat.completions.with_streaming_response.create(**ASK):
            pass
    with pytest.raises(ClientClosedError):
        async with client.chat.completions.stream(**ASK, resume=2):
            pass
    with pytest.raises(ClientClosedError):
        await client.files.extract(Path("/nowhere/at/all"))
    assert seen == []
    assert service.received == []
    assert client.in_flight == 0


async def test_a_request_that_was_built_before_is_not_sent_either(service: Service) -> None:
    client = service.client()
    request = client._pipeline.request("GET", "/models")
    await client.drain()
    with pytest.raises(ClientClosedError):
        await client._pipeline.open(request)
    assert service.received == []


async def test_a_client_of_its_own_is_not_concerned(service: Service) -> None:
    service.go.set()
    await service.client().drain()
    assert (await service.client().chat.completions.create(**ASK)).choices


async def test_draining_may_be_repeated_and_waited_for_by_many(service: Service) -> None:
    client = service.client()
    task = await asked(client, service)
    waiting = [asyncio.create_task(client.drain()) for _ in range(3)]
    assert not await client.drain(0.01)
    service.go.set()
    assert await asyncio.gather(*waiting) == [DrainReport(1, ())] * 3
    assert await client.drain() == DrainReport(0, ())
    await task


async def test_to_cancel_the_wait_is_not_to_take_calls_again(service: Service) -> None:
    client = service.client()
    task = await asked(client, service)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.drain(), 0.02)
    with pytest.raises(ClientClosedError):
        await client.models.list()
    service.go.set()
    assert await client.drain()
    assert (await task).choices


@pytest.mark.usefixtures("no_leaks")
async def test_drained_and_closed_as_the_documentation_says(scripted: Start, client_of: Any) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD + chunk(events(DELTA)))
        await asyncio.sleep(0.02)
        await peer.send(chunk(events(FINISH, b"[DONE]")) + LAST_CHUNK)

    client = client_of(await scripted(play))

    async def use() -> int:
        return len([item async for item in await client.chat.completions.create(**ASK, stream=True)])

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(use()) for _ in range(5)]
        await asyncio.sleep(0.01)
        report = await client.drain(30)
        await client.aclose()
    assert report == DrainReport(5, ())
    assert [task.result() for task in tasks] == [2] * 5


# --- what goes on


async def test_retries_of_calls_in_flight_go_on_and_are_told() -> None:
    waiting, go = asyncio.Event(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        if not waiting.is_set():
            return
        await go.wait()

    async def app(request: Request) -> Response:
        if request.attempt == 3:
            waiting.set()
        return Response(200, JSON, COMPLETION) if request.attempt == 4 else Response(503)

    client = AsyncMoonshot(api_key=KEY, transport=MemoryTransport(app), middleware=[Retry(5, sleep=sleep)])
    task = asyncio.create_task(client.chat.completions.create(**ASK))
    await waiting.wait()
    assert [call.attempt for call in (await client.drain(0)).left] == [3]
    assert await drained_until(client, go.set) == DrainReport(1, ())
    assert (await task).choices
    assert client._life._attempts == {}


async def test_an_answer_that_is_resumed_is_one_call_to_its_end(service: Service) -> None:
    bodies = [[events(DELTA)], [events(DELTA)], [events(FINISH, b"[DONE]")]]

    async def app(request: Request) -> Response:
        return Response(200, SSE, bodies.pop(0))

    client = AsyncMoonshot(api_key=KEY, transport=MemoryTransport(app))
    manager = client.chat.completions.stream(**ASK, resume=5)
    async with manager as stream:
        await anext(stream)
        assert client.in_flight == 1
        draining = asyncio.create_task(client.drain())
        await asyncio.sleep(0)
        completion = await stream.get_final_completion()
        assert completion.choices[0].message.content == "xx"
        assert client.in_flight == 0
    assert await draining == DrainReport(1, ())


@pytest.mark.parametrize("end", ["left", "dropped", "failed"])
async def test_an_answer_that_could_be_resumed_is_in_flight_no_more(end: str, service: Service) -> None:
    client = service.client()
    manager = client.chat.completions.stream(**ASK, resume=5)
    stream = await manager.__aenter__()
    await anext(stream)
    assert client.in_flight == 1
    if end == "left":
        await manager.__aexit__(None, None, None)
    elif end == "failed":
        await client._transport.aclose()
        with pytest.raises(APIConnectionError):
            await stream.get_final_completion()
    else:
        del stream, manager
        # A generator that was begun is finished by the event loop, some turns later.
        for _ in range(5):
            await asyncio.sleep(0)
    assert client.in_flight == 0


async def test_an_answer_that_could_be_resumed_but_never_began_is_in_flight_no_more() -> None:
    async def refuse(request: Request) -> Response:
        return Response(400, JSON, b"{}")

    client = AsyncMoonshot(api_key=KEY, transport=MemoryTransport(refuse))
    with pytest.raises(BadRequestError) as kept:
        await client.chat.completions.stream(**ASK, resume=5).__aenter__()
    assert client.in_flight == 0
    assert kept.value.status_code == 400


async def test_a_document_is_read_and_deleted_to_the_end() -> None:
    fake = FakeMoonshot()
    client = AsyncMoonshot(api_key=KEY, transport=MemoryTransport(fake))
    draining: list[asyncio.Task[DrainReport]] = []

    async def stop(request: Request, call_next: Handler) -> Response:
        if not draining:
            draining.append(asyncio.create_task(client.drain()))
            await asyncio.sleep(0)
            assert client.in_flight == 1
        return await call_next(request)

    text = await client.with_options(middleware=[stop]).files.extract(("a.txt", b"some words"))
    assert "some words" in text
    assert [request.method for request in fake.requests] == ["POST", "GET", "DELETE"]
    assert await draining[0] == DrainReport(1, ())


async def test_a_model_that_is_looked_up_in_two_ways_is_looked_up_in_both() -> None:
    async def app(request: Request) -> Response:
        asyncio.get_running_loop().call_soon(draining.append, asyncio.ensure_future(client.drain()))
        await asyncio.sleep(0)
        return Response(200, JSON, b'{"object":"list","data":[]}') if request.path.endswith("models") else Response(404)

    draining: list[asyncio.Future[DrainReport]] = []
    client = AsyncMoonshot(api_key=KEY, transport=MemoryTransport(app))
    with pytest.raises(NotFoundError):
        await client.models.retrieve("kimi-k9")
    assert [await report for report in draining] == [DrainReport(1, ())] * 2


async def test_a_call_within_a_whole_is_a_part_of_it_only_there(service: Service) -> None:
    client, other = service.client(), service.client()
    request = client._pipeline.request("GET", "/models")
    whole = client._pipeline.whole(request)
    service.go.set()
    with whole.part():
        theirs = await other.chat.completions.create(**ASK, stream=True)
        assert (client.in_flight, other.in_flight) == (1, 1)
        ours = await client.chat.completions.create(**ASK, stream=True)
        assert client.in_flight == 1
        assert len((await client.drain(0)).left) == 1
        assert (await client.chat.completions.create(**ASK)).choices
        await other.drain(0)
        with pytest.raises(ClientClosedError):
            await other.chat.completions.create(**ASK)
    whole.end()
    whole.end()
    # It outlives what it was a part of, and so is counted by itself.
    assert client.in_flight == 1
    with pytest.raises(ClientClosedError), whole.part():
        raise AssertionError("it has ended")
    await ours.aclose()
    await theirs.aclose()
    assert client.in_flight == other.in_flight == 0


async def test_a_coroutine_that_is_dropped_in_a_part_is_closed_without_a_word(service: Service) -> None:
    client = service.client()

    async def within() -> None:
        with client._pipeline.whole(client._pipeline.request("GET", "/models")):
            await asyncio.sleep(30)

    coroutine = within()
    contextvars.copy_context().run(coroutine.send, None)
    assert client.in_flight == 1
    coroutine.close()
    assert client.in_flight == 0


# --- threads, loops and processes


def test_a_call_in_another_thread_is_waited_for() -> None:
    arrived, go = threading.Event(), threading.Event()

    async def app(request: Request) -> Response:
        arrived.set()
        await asyncio.to_thread(go.wait, 5)
        return Response(200, JSON, COMPLETION)

    client = AsyncMoonshot(api_key=KEY, transport=MemoryTransport(app))
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(asyncio.run(client.chat.completions.create(**ASK))))
    thread.start()
    assert arrived.wait(5)

    async def drain() -> DrainReport:
        assert not await client.drain(0.01)
        asyncio.get_running_loop().call_later(0.02, go.set)
        return await client.drain(5)

    assert asyncio.run(drain()) == DrainReport(1, ())
    thread.join()
    assert answers[0].choices


def test_calls_of_a_loop_that_was_closed_are_not_waited_for() -> None:
    async def app(request: Request) -> Response:
        await asyncio.sleep(30)
        return Response(200)

    client = AsyncMoonshot(api_key=KEY, transport=MemoryTransport(app))
    loop = asyncio.new_event_loop()
    task = loop.create_task(client.chat.completions.create(**ASK))
    loop.run_until_complete(asyncio.sleep(0.01))
    assert client.in_flight == 1
    # A loop that is closed with tasks in it complains of each, when that is freed.
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    assert client.in_flight == 0
    assert asyncio.run(client.drain(5)) == DrainReport(0, ())


async def test_a_child_does_not_wait_for_the_calls_of_its_parent(service: Service) -> None:
    async def forking(request: Request, call_next: Handler) -> Response:
        assert client.in_flight == 1
        client._life.disown()
        assert await client.drain() == DrainReport(0, ())
        return await call_next(request)

    client = service.client(middleware=[forking])
    service.go.set()
    # In the parent it goes on.
    stream = await client.chat.completions.create(**ASK, stream=True)
    assert len([item async for item in stream]) == 2
    assert client.in_flight == 0


async def test_what_ended_or_returned_before_it_could_be_cut_is_left_alone(service: Service) -> None:
    client = service.client()
    stream = await client.chat.completions.create(**ASK, stream=True)
    # As another thread would say it.
    for number in (1, 2):
        client._life._cut_off(number)
    assert (await anext(stream)).choices
    await stream.aclose()


def test_what_is_said_to_a_loop_that_was_closed_is_said_to_nobody() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    call_in(loop, print, "never")


async def test_attempts_that_belong_to_no_call_are_forgotten() -> None:
    async def app(request: Request) -> Response:
        return Response(503)

    async def hedging(request: Request, call_next: Handler) -> Response:
        for number in range(200):
            with contextlib.suppress(InternalServerError):
                await call_next(request.replace(started=float(number), attempt=2))
        with contextlib.suppress(InternalServerError):
            await call_next(request.replace(started=None, attempt=2))
        return await call_next(request)

    client = AsyncMoonshot(api_key=KEY, transport=MemoryTransport(app), middleware=[hedging], max_retries=0)
    with pytest.raises(InternalServerError):
        await client.models.list()
    assert len(client._life._attempts) <= 66


async def test_in_flight_counts_on_sockets(scripted: Start, client_of: Any) -> None:
    async def play(peer: Peer) -> None:
        if peer.number > 1:
            await endless(peer)
        await peer.request()
        await peer.send(answer(COMPLETION))

    client = client_of(await scripted(play))
    await client.chat.completions.create(**ASK)
    streams = [await client.chat.completions.create(**ASK, stream=True) for _ in range(3)]
    assert client.in_flight == 3
    for stream in streams:
        await stream.aclose()
    assert client.in_flight == 0
