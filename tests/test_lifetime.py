"""How long things live: a stream that failed stays failed, one outlives its client, and what is dropped is gone."""

import asyncio
import gc
import os
import socket
import sys
import time
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from moonshot_async import AiohttpTransport, AsyncMoonshot, MemoryTransport, Retry, collect
from moonshot_async import exchange as exchange_module
from moonshot_async.bounds import Bounds
from moonshot_async.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    BadRequestError,
    ClientClosedError,
    ConfigurationError,
    StreamInterruptedError,
)
from moonshot_async.fake import FakeMoonshot
from moonshot_async.middleware import Handler
from moonshot_async.types.chat import ChatCompletionChunk
from moonshot_async.wire import Request, Response
from tests.scripted import (
    ASK,
    COMPLETION,
    DELTA,
    FINISH,
    LAST_CHUNK,
    SSE_HEAD,
    Peer,
    Play,
    ScriptedServer,
    Start,
    answer,
    chunk,
    endless,
    events,
    silent,
)
from tests.stalls import Stalls

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def no_gc() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def finishing(peer: Peer) -> None:
    while True:
        body = await peer.request()
        if b'"stream":true' in body:
            await peer.send(SSE_HEAD + chunk(events(DELTA)))
            await asyncio.sleep(0.01)
            await peer.send(chunk(events(FINISH, b"[DONE]")) + LAST_CHUNK)
        else:
            await peer.send(answer(COMPLETION))


def client_of(server: ScriptedServer, **options: Any) -> AsyncMoonshot:
    return AsyncMoonshot(api_key="sk-canary-01", base_url=server.url, max_retries=0, **options)


def in_memory(*pieces: bytes, **options: Any) -> AsyncMoonshot:
    async def app(request: Request) -> Response:
        return Response(200, [("Content-Type", "text/event-stream")], list(pieces))

    return AsyncMoonshot(api_key="sk-canary-01", base_url="http://m.test/v1", transport=MemoryTransport(app), **options)


# --- a stream that failed stays failed


async def test_a_read_that_was_given_up_is_no_end_of_the_answer(scripted: Start) -> None:
    async with client_of(await scripted(endless)) as client:
        stream = await client.chat.completions.create(**ASK, stream=True)
        await anext(stream)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), 0.02)
        for _ in range(2):
            with pytest.raises(StreamInterruptedError) as caught:
                await anext(stream)
            assert caught.value.partial is not None
            assert caught.value.partial.choices[0].message.content == "x"


async def test_events_that_were_given_up_are_no_end_of_the_answer(scripted: Start) -> None:
    async with (
        client_of(await scripted(endless)) as client,
        client.chat.completions.stream(**ASK) as stream,
    ):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                async for _ in stream:
                    pass
        for ask_again in (stream.until_done, stream.get_final_completion, lambda: anext(stream)):
            with pytest.raises(StreamInterruptedError):
                await ask_again()
        assert stream.current_completion_snapshot.choices[0].message.content == "x"


async def test_a_second_loop_finds_a_stream_that_the_first_one_left_closed() -> None:
    for pieces in (
        [events(DELTA, DELTA, FINISH, b"[DONE]")],
        [events(DELTA), events(DELTA), events(FINISH, b"[DONE]")],
    ):
        stream = await in_memory(*pieces).chat.completions.create(**ASK, stream=True)
        async for _ in stream:
            break
        with pytest.raises(StreamInterruptedError, match="leaving `async for` early closes it"):
            async for _ in stream:
                pass


async def test_a_loop_goes_on_where_reading_piece_by_piece_stopped() -> None:
    stream = await in_memory(events(DELTA, DELTA, FINISH, b"[DONE]")).chat.completions.create(**ASK, stream=True)
    aiter(stream)  # asked for and never used: no loop was left
    await anext(stream)
    assert len([item async for item in stream]) == 2


def said(text: str, *, last: bool = False) -> bytes:
    finish = '"stop"' if last else "null"
    return events(b'{"choices":[{"delta":{"content":"%s"},"finish_reason":%s}]}' % (text.encode(), finish.encode()))


READS = (said("a"), said("b") + said("c"), said("d"), said("e", last=True), events(b"[DONE]"))


def text_of(item: ChatCompletionChunk) -> str:
    return item.choices[0].delta.content or ""


async def test_two_ways_of_reading_one_stream_lose_nothing() -> None:
    stream = await in_memory(*READS).chat.completions.create(**ASK, stream=True)
    loop = aiter(stream)
    heard = [text_of(await anext(loop)), text_of(await anext(stream))]
    heard += [text_of(item) async for item in loop]
    assert heard == ["a", "b", "c", "d", "e"]


async def test_a_loop_that_rests_is_not_taken_for_one_that_was_left() -> None:
    stream = await in_memory(*READS).chat.completions.create(**ASK, stream=True)
    loop = aiter(stream)
    first = await anext(loop)
    assert [text_of(first), *[text_of(item) async for item in stream]] == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("turns", [0, 3])
async def test_a_loop_that_was_left_has_closed_the_stream_for_every_reader(turns: int) -> None:
    stream = await in_memory(*READS).chat.completions.create(**ASK, stream=True)
    assert text_of(await anext(stream)) == "a"
    async for _ in stream:
        break
    for _ in range(turns):
        await asyncio.sleep(0)
    with pytest.raises(StreamInterruptedError):
        await anext(stream)


async def test_a_loop_over_a_stream_that_was_read_to_its_end_finds_nothing() -> None:
    stream = await in_memory(events(DELTA, FINISH, b"[DONE]")).chat.completions.create(**ASK, stream=True)
    assert len([chunk async for chunk in stream]) == 2
    assert [chunk async for chunk in stream] == []


async def test_a_stream_is_read_by_one_task_at_a_time(scripted: Start) -> None:
    async with client_of(await scripted(finishing)) as client:
        stream = await client.chat.completions.create(**ASK, stream=True)

        async def read() -> int:
            return len([chunk async for chunk in stream])

        first = asyncio.create_task(read())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="read by another task"):
            await read()
        assert await first == 2


async def test_a_stream_is_not_whole_before_every_choice_that_was_asked_for() -> None:
    client = in_memory(events(DELTA, FINISH))
    assert len([chunk async for chunk in await client.chat.completions.create(**ASK, stream=True)]) == 2
    with pytest.raises(StreamInterruptedError, match="before the answer was complete"):
        async for _ in await client.chat.completions.create(**ASK, stream=True, n=2):
            pass
    for n in (2, "2"):
        with pytest.raises(StreamInterruptedError, match="before the answer was complete"):
            async for _ in await client.chat.completions.create(**ASK, stream=True, extra_body={"n": n}):
                pass
    async with client.chat.completions.stream(**ASK, n=2) as stream:
        with pytest.raises(StreamInterruptedError, match="before the answer was complete"):
            await stream.get_final_completion()


async def test_an_answer_that_says_it_is_done_is_whole_for_everyone() -> None:
    client = in_memory(events(DELTA, b"[DONE]"))
    async with client.chat.completions.stream(**ASK) as stream:
        completion = await stream.get_final_completion()
    collected = await collect(await client.chat.completions.create(**ASK, stream=True))
    assert completion == collected
    assert collected.choices[0].message.content == "x"

    async def unsure() -> AsyncIterator[ChatCompletionChunk]:
        async for item in await client.chat.completions.create(**ASK, stream=True):
            yield item

    with pytest.raises(StreamInterruptedError):
        await collect(unsure())


async def test_what_arrived_before_a_reset_is_handed_out_although_nobody_was_reading(scripted: Start) -> None:
    looked_away, torn = asyncio.Event(), asyncio.Event()

    async def tearing(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD + chunk(events(DELTA)))
        await looked_away.wait()
        await peer.send(chunk(events(DELTA)))
        await asyncio.sleep(0.02)
        peer.reset()
        torn.set()

    async with client_of(await scripted(tearing)) as client:
        stream = await client.chat.completions.create(**ASK, stream=True)
        await anext(stream)
        looked_away.set()
        await torn.wait()
        await asyncio.sleep(0.02)
        assert (await anext(stream)).choices[0].delta.content == "x"
        with pytest.raises(StreamInterruptedError) as caught:
            await anext(stream)
    assert caught.value.partial is not None
    assert caught.value.partial.choices[0].message.content == "xx"


# --- deadlines that nothing outruns


async def test_a_slow_consumer_does_not_stretch_the_deadline(stalls: Stalls) -> None:
    client = in_memory(*[events(DELTA)] * 1000)
    stream = await client.chat.completions.create(**ASK, stream=True, timeout=0.2)
    started = time.monotonic()
    with pytest.raises(APITimeoutError) as caught:
        async for _ in stream:
            await asyncio.sleep(0.02)
    assert caught.value.clock == "total"
    assert stalls.late(started + 0.2) < 0.2


async def test_a_body_that_never_lets_go_of_the_loop_ends_at_the_deadline() -> None:
    async def flood() -> AsyncIterator[bytes]:
        while True:
            yield b": still here\n\n" * 1000

    async def app(request: Request) -> Response:
        return Response(200, [], flood())

    client = AsyncMoonshot(api_key="sk-canary-01", transport=MemoryTransport(app), base_url="http://m.test/v1")
    client = client.with_options(bounds=Bounds(max_silent_lines=10**9, max_stream_bytes=10**12))
    with pytest.raises(APITimeoutError):
        async for _ in await client.chat.completions.create(**ASK, stream=True, timeout=0.1):
            pass


@pytest.mark.parametrize("over", ["loopback", "memory"])
async def test_nothing_is_sent_after_the_deadline(scripted: Start, over: str) -> None:
    async def late(request: Request, call_next: Handler) -> Response:
        return await call_next(request.replace(deadline=time.monotonic()))

    fake = FakeMoonshot()
    server = await scripted(finishing)
    transport = MemoryTransport(fake) if over == "memory" else None
    async with client_of(server, transport=transport, limits=late) as client:
        with pytest.raises(APITimeoutError, match="before the request was sent"):
            await client.chat.completions.create(**ASK)
    assert server.requests == fake.requests == []


async def test_layers_of_the_caller_are_bounded_by_the_deadline(stalls: Stalls) -> None:
    async def slow(request: Request, call_next: Handler) -> Response:
        await asyncio.sleep(30)
        return await call_next(request)

    async def slow_key() -> str:
        await asyncio.sleep(30)
        return "sk-canary-01"

    memory = MemoryTransport(FakeMoonshot())
    for options in ({"limits": slow}, {"middleware": [slow]}, {"api_key": slow_key}):
        client = AsyncMoonshot(**{"api_key": "sk-canary-01", "transport": memory, **options})  # type: ignore[arg-type]
        started = time.monotonic()
        with pytest.raises(APITimeoutError) as caught:
            await client.chat.completions.create(**ASK, timeout=0.05)
        assert caught.value.clock == "total"
        assert stalls.late(started + 0.05) < 0.25


async def test_an_attempt_that_the_deadline_ended_is_counted_whatever_layers_there_are() -> None:
    async def app(request: Request) -> Response:
        if request.attempt == 3:
            await asyncio.sleep(30)
        return Response(503)

    async def passing(request: Request, call_next: Handler) -> Response:
        return await call_next(request)

    for layers in ([], [passing]):
        client = AsyncMoonshot(
            api_key="sk-canary-01", transport=MemoryTransport(app), middleware=[*layers, Retry(5, initial=0.01)]
        )
        with pytest.raises(APITimeoutError, match=r"attempt 3") as caught:
            await client.chat.completions.create(**ASK, timeout=0.3)
        assert caught.value.attempts[-1].number == 3


async def test_an_answer_that_a_layer_holds_when_time_is_up_is_closed(scripted: Start) -> None:
    async def slow(request: Request, call_next: Handler) -> Response:
        response = await call_next(request)
        await asyncio.sleep(30)
        return response

    server = await scripted(endless)
    async with client_of(server, middleware=[slow]) as client:
        with pytest.raises(APITimeoutError):
            await client.chat.completions.create(**ASK, stream=True, timeout=0.1)
        await server.until(lambda: server.open == 0, seconds=1)


async def test_layers_of_the_caller_run_without_a_deadline_too() -> None:
    async def layer(request: Request, call_next: Handler) -> Response:
        assert request.deadline is None
        return await call_next(request)

    client = AsyncMoonshot(api_key="sk-canary-01", transport=MemoryTransport(FakeMoonshot()), middleware=[layer])
    assert (await client.chat.completions.create(**ASK, timeout=None)).choices


async def test_the_body_of_an_error_is_not_waited_for(
    scripted: Start, monkeypatch: pytest.MonkeyPatch, stalls: Stalls
) -> None:
    async def dripping(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 60000\r\n\r\n")
        await peer.drip(b"x" * 60000, every=0.01)

    monkeypatch.setattr(exchange_module, "_ERROR_BODY_SECONDS", 0.1)
    async with client_of(await scripted(dripping)) as client:
        started = time.monotonic()
        with pytest.raises(BadRequestError):
            await client.chat.completions.create(**ASK)
        assert stalls.late(started + 0.1) < 0.4


# --- what is dropped is gone, and what is held lives


async def test_a_stream_outlives_the_client_that_made_it(scripted: Start) -> None:
    server = await scripted(finishing)

    async def ask() -> Any:
        return await client_of(server).chat.completions.create(**ASK, stream=True)

    assert len([chunk async for chunk in await ask()]) == 2
    await server.until(lambda: server.open == 0, seconds=1)


async def test_a_client_that_was_dropped_leaves_no_connection_and_no_complaint(scripted: Start, no_gc: None) -> None:
    server = await scripted(finishing)

    async def use() -> None:
        await client_of(server).chat.completions.create(**ASK)

    for _ in range(5):
        await use()
    await server.until(lambda: server.open == 0, seconds=1)
    assert len(server.requests) == 5


async def test_a_client_that_was_dropped_in_another_thread_leaves_no_connection(scripted: Start, no_gc: None) -> None:
    server = await scripted(finishing)
    holder = [client_of(server)]
    await holder[0].chat.completions.create(**ASK)
    await asyncio.to_thread(holder.clear)
    await server.until(lambda: server.open == 0, seconds=1)


async def refused(peer: Peer) -> None:
    await peer.request()
    await peer.send(answer(b'{"error":{"message":"no"}}', status=b"400 Bad Request"))


async def failing(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(answer(b'{"error":{"message":"no"}}', status=b"503 Service Unavailable"))


async def cut(peer: Peer) -> None:
    await peer.request()
    await peer.send(SSE_HEAD + chunk(events(DELTA)))


async def broken(peer: Peer) -> None:
    await peer.request()
    await peer.send(SSE_HEAD + chunk(events(DELTA, b"{nonsense")))
    await peer.gone()


@pytest.mark.parametrize("play", [refused, failing, cut, broken, silent])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_that_failed_keeps_nothing_alive(scripted: Start, no_gc: None, play: Play, stream: bool) -> None:
    async with client_of(await scripted(play)) as client:
        patient = client.with_options(max_retries=1, timeout=0.3)

        async def fail() -> "weakref.ref[APIError]":
            try:
                answer = await patient.chat.completions.create(**ASK, stream=stream)
                async for _ in answer:  # type: ignore[union-attr]  # a completion never comes
                    pass
            except APIError as error:
                return weakref.ref(error)
            raise AssertionError("it did not fail")

        gone = await fail()
        await asyncio.sleep(0)
        assert gone() is None


async def test_what_is_no_http_is_not_asked_for_again(scripted: Start) -> None:
    async def odd(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nabc")

    server = await scripted(odd)
    async with AsyncMoonshot(api_key="sk-canary-01", base_url=server.url) as client:
        with pytest.raises(APIConnectionError) as caught:
            await client.chat.completions.create(**ASK)
    assert not caught.value.retryable
    assert len(server.requests) == 1


async def test_a_key_function_that_is_not_async_is_told_so() -> None:
    client = AsyncMoonshot(api_key=lambda: "sk-canary-01", transport=MemoryTransport(FakeMoonshot()))  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigurationError, match="must be async"):
        await client.models.list()


async def test_nothing_is_a_good_answer_where_nothing_was_promised() -> None:
    async def app(request: Request) -> Response:
        return Response(204)

    client = AsyncMoonshot(api_key="sk-canary-01", transport=MemoryTransport(app))
    assert await client.request("DELETE", "/files/f") is None
    with pytest.raises(APIError):
        await client.request("DELETE", "/files/f", response_type=dict)


async def test_a_tls_context_that_is_none_is_refused_before_any_call() -> None:
    with pytest.raises(ConfigurationError, match="ssl_context"):
        AiohttpTransport(ssl_context="nonsense")  # type: ignore[arg-type]


# --- closing


def full_backlog() -> tuple[str, list[socket.socket]]:
    """Where connections are neither taken nor refused."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    address = listener.getsockname()
    waiting = [socket.socket() for _ in range(4)]
    for one in waiting:
        one.setblocking(False)
        one.connect_ex(address)
    return f"http://127.0.0.1:{address[1]}/v1", [listener, *waiting]


async def deaf(peer: Peer) -> None:
    """Accept, and take nothing."""
    peer.stop_reading()
    await asyncio.Event().wait()


async def no_hands(peer: Peer) -> None:
    """Accept, and say nothing, not even in TLS."""
    await peer.gone()


async def unwell(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(answer(b"{}", status=b"503 Service Unavailable"))


async def headed(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    await peer.gone()


async def consumed(client: AsyncMoonshot, phase: str) -> None:
    if phase == "write":
        # More than all buffers on its way hold.
        await client.files.create(file=bytes(2**25), purpose="file-extract")
    elif phase == "stream":
        async for _ in await client.chat.completions.create(**ASK, stream=True):
            pass
    else:
        await client.chat.completions.create(**ASK)


@pytest.mark.parametrize("phase", ["connect", "tls", "pool", "write", "head", "body", "stream", "retry"])
async def test_closing_ends_a_call_whatever_it_is_waiting_for(scripted: Start, phase: str) -> None:
    url, held = full_backlog() if phase == "connect" else ("", [])
    plays = {"tls": no_hands, "write": deaf, "body": headed, "stream": endless, "retry": unwell}
    server = await scripted(plays.get(phase, silent))
    url = url or (server.url.replace("http:", "https:") if phase == "tls" else server.url)
    transport = AiohttpTransport(max_connections=1)
    client = AsyncMoonshot(api_key="sk-canary-01", base_url=url, transport=transport, middleware=[Retry(2, initial=60)])
    calls = [asyncio.create_task(consumed(client, phase)) for _ in range(2 if phase == "pool" else 1)]
    if phase in ("tls", "write"):
        await server.until(lambda: server.open == 1)
    elif phase != "connect":
        await server.until(lambda: len(server.requests) == 1)
    await asyncio.sleep(0.05)
    async with asyncio.timeout(1):
        await asyncio.gather(client.aclose(), client.aclose())
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {ClientClosedError}
    for one in held:
        one.close()


async def test_a_client_that_was_left_is_closed_for_good_and_sends_nothing(scripted: Start) -> None:
    server = await scripted(finishing)
    client = client_of(server)
    async with client:
        await client.chat.completions.create(**ASK)
    for _ in range(2):
        async with client:
            for stream in (False, True):
                with pytest.raises(ClientClosedError):
                    await client.chat.completions.create(**ASK, stream=stream)
            with pytest.raises(ClientClosedError):
                await client.files.create(file=b"x", purpose="file-extract")
    assert len(server.requests) == 1


# --- what many calls leave behind


async def moody(peer: Peer) -> None:
    """Answer by what is asked for: well, badly, late, or not to the end."""
    while True:
        body = await peer.request()
        if b"refuse" in body:
            await peer.send(answer(b'{"error":{"message":"no"}}', status=b"400 Bad Request"))
        elif b"fail" in body:
            await peer.send(answer(b"{}", status=b"503 Service Unavailable"))
        elif b"silence" in body:
            await peer.gone()
        elif b"hang up" in body:
            return
        elif b"break off" in body:
            await peer.send(SSE_HEAD + chunk(events(DELTA)))
            peer.reset()
        elif b'"stream":true' in body:
            await peer.send(SSE_HEAD + chunk(events(DELTA)), chunk(events(FINISH, b"[DONE]")) + LAST_CHUNK)
        else:
            await peer.send(answer(COMPLETION))


MOODS = ("well", "refuse", "fail", "silence", "hang up", "break off", "cancel", "leave", "drop")


async def in_a_mood(client: AsyncMoonshot, mood: str, stream: bool) -> None:
    ask = {**ASK, "messages": [{"role": "user", "content": f"Canary prompt: {mood}"}]}
    timeout = 0.2 if mood == "silence" else 10
    answer = await client.chat.completions.create(**ask, timeout=timeout, stream=stream or mood == "break off")
    if mood != "drop" and isinstance(answer, AsyncIterable):
        async for _ in answer:
            if mood == "leave":
                break


def descriptors() -> list[Path]:
    return sorted(Path("/dev/fd").iterdir())


async def test_three_hundred_calls_of_all_kinds_leave_nothing_behind(scripted: Start) -> None:
    server = await scripted(moody)
    before = descriptors()
    client = AsyncMoonshot(api_key="sk-canary-01", base_url=server.url, middleware=[Retry(1, initial=0.001)])
    calls = [
        asyncio.create_task(in_a_mood(client, MOODS[number % len(MOODS)], number % 2 == 0)) for number in range(300)
    ]
    await asyncio.sleep(0.01)
    for number, call in enumerate(calls):
        if MOODS[number % len(MOODS)] == "cancel":
            call.cancel()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes if not isinstance(outcome, APIError | asyncio.CancelledError)} == {
        type(None)
    }
    await client.aclose()
    await server.until(lambda: server.open == 0, seconds=1)
    del calls, outcomes
    # Now is said what was never retrieved or closed.
    gc.collect()
    await asyncio.sleep(0)
    assert descriptors() == before


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not tell how much memory is used")
async def test_two_thousand_calls_leave_no_memory_behind(scripted: Start) -> None:
    server = await scripted(finishing)
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.lone_programs",
        "calls_on_and_on",
        cwd=Path(__file__).parent.parent,
        env=os.environ | {"MOONSHOT_BASE_URL": server.url},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await program.communicate()
    assert program.returncode == 0
    assert int(out) < 8 * 2**20
