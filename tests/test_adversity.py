"""Servers and networks that do their worst, over real sockets: every call ends in time, with an error of ours."""

import asyncio
import gc
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from moonshot_async import AsyncMoonshot, Timeout
from moonshot_async.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    InternalServerError,
    RateLimitError,
    StreamInterruptedError,
)
from moonshot_async.transports import AiohttpTransport
from tests.conftest import open_sockets
from tests.scripted import (
    ASK,
    COMPLETION,
    DELTA,
    FINISH,
    HEAD,
    LAST_CHUNK,
    SSE_HEAD,
    Peer,
    Play,
    Start,
    answer,
    chunk,
    endless,
    events,
    silent,
)

pytestmark = pytest.mark.usefixtures("no_leaks")

WHOLE = chunk(events(DELTA, FINISH, b"[DONE]")) + LAST_CHUNK


async def streaming(peer: Peer) -> None:
    """Answer every request of a connection with the same whole stream."""
    while True:
        await peer.request()
        await peer.send(SSE_HEAD + chunk(events(DELTA, FINISH, b"[DONE]")))
        # The end of the body comes later than the end of the answer.
        await asyncio.sleep(0.001)
        await peer.send(LAST_CHUNK)


# --- connections


async def test_a_hundred_streams_read_to_their_end_share_one_connection(scripted: Start, client_of: Any) -> None:
    server = await scripted(streaming)
    client = client_of(server)
    for _ in range(100):
        stream = await client.chat.completions.create(**ASK, stream=True)
        assert len([chunk async for chunk in stream]) == 2
    assert len(server.peers) == 1
    assert len(server.requests) == 100


async def test_a_hundred_streams_of_events_share_one_connection(scripted: Start, client_of: Any) -> None:
    server = await scripted(streaming)
    client = client_of(server)
    for _ in range(100):
        async with client.chat.completions.stream(**ASK) as stream:
            assert (await stream.get_final_completion()).choices[0].message.content == "x"
    assert len(server.peers) == 1


async def test_errors_of_status_give_their_connection_back(scripted: Start, client_of: Any) -> None:
    async def refuse(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answer(b'{"error":{"type":"invalid_request_error","message":"no"}}', status=b"400 No"))

    server = await scripted(refuse)
    client = client_of(server)
    for _ in range(20):
        with pytest.raises(APIError):
            await client.chat.completions.create(**ASK, stream=True)
    assert len(server.peers) == 1


async def test_a_socket_kept_open_after_done_holds_the_caller_only_briefly(scripted: Start, client_of: Any) -> None:
    async def keep_open(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD + chunk(events(DELTA, FINISH, b"[DONE]")))
        await peer.gone()

    server = await scripted(keep_open)
    client = client_of(server)
    for _ in range(2):
        stream = await client.chat.completions.create(**ASK, stream=True)
        started = time.monotonic()
        assert len([chunk async for chunk in stream]) == 2
        assert time.monotonic() - started < 0.25
    assert len(server.peers) == 2
    await server.until(lambda: server.open == 0, seconds=1)


async def test_a_server_that_talks_on_after_done_is_left(scripted: Start, client_of: Any) -> None:
    async def talk_on(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD + chunk(events(DELTA, FINISH, b"[DONE]")))
        while True:
            await peer.send(chunk(b": and another thing\n" * 1000))

    server = await scripted(talk_on)
    stream = await client_of(server).chat.completions.create(**ASK, stream=True)
    started = time.monotonic()
    assert len([chunk async for chunk in stream]) == 2
    assert time.monotonic() - started < 0.25
    await server.until(lambda: server.open == 0, seconds=1)


async def test_a_trailer_and_bytes_after_done_do_not_cost_the_connection(scripted: Start, client_of: Any) -> None:
    async def talk_on(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(SSE_HEAD + chunk(events(DELTA, FINISH, b"[DONE]", b"{]", b'{"error":"late"}')))
            await peer.send(b"0\r\nX-Trailer: 1\r\n\r\n")

    server = await scripted(talk_on)
    client = client_of(server)
    for _ in range(3):
        stream = await client.chat.completions.create(**ASK, stream=True)
        assert len([chunk async for chunk in stream]) == 2
    assert len(server.peers) == 1


UNASKED = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen",
    b"HTTP/1.1 2",
    b"HTTP/1.1 200 OK\r\nSec-WebSocket-Key1: 1\r\nX",
    b"\0",
    b"",
]


@pytest.mark.parametrize("when", ["with the answer", "later, unseen", "later, seen"])
@pytest.mark.parametrize("unasked", UNASKED)
async def test_a_connection_on_which_something_came_unasked_is_not_used_again(
    scripted: Start, client_of: Any, unasked: bytes, when: str
) -> None:
    answered, spoilt = asyncio.Event(), asyncio.Event()

    async def spoil(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1:
            together = when == "with the answer" and unasked != b"\0"
            await peer.send(answer(COMPLETION) + (unasked if together else b""))
            await answered.wait()
            await peer.send(b"" if together else unasked)
            if not unasked:
                peer.end()
            spoilt.set()
        else:
            await peer.send(answer(COMPLETION))
        await peer.gone()

    server = await scripted(spoil)
    client = client_of(server, max_retries=0)
    await client.chat.completions.create(**ASK)
    answered.set()
    await spoilt.wait()
    if when == "later, seen":
        await asyncio.sleep(0.02)
    assert (await client.chat.completions.create(**ASK)).choices[0].message.content == "x"
    assert len(server.peers) == 2
    await server.until(lambda: server.open == 1)


# --- streams that nobody reads to their end


@pytest.fixture
def no_gc() -> Iterator[None]:
    """Whatever must be let go of is let go of without a garbage collection."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def leave_by_break(client: AsyncMoonshot) -> None:
    stream = await client.chat.completions.create(**ASK, stream=True)
    async for _ in stream:
        break


async def leave_unread(client: AsyncMoonshot) -> None:
    await client.chat.completions.create(**ASK, stream=True)


async def leave_after_anext(client: AsyncMoonshot) -> None:
    stream = await client.chat.completions.create(**ASK, stream=True)
    await anext(stream)


async def leave_context(client: AsyncMoonshot) -> None:
    async with await client.chat.completions.create(**ASK, stream=True) as stream:
        async for _ in stream:
            break


async def leave_aclosing(client: AsyncMoonshot) -> None:
    async with aclosing(await client.chat.completions.create(**ASK, stream=True)) as stream:
        await anext(stream)


async def leave_by_exception(client: AsyncMoonshot) -> None:
    try:
        async for _ in await client.chat.completions.create(**ASK, stream=True):
            raise KeyError("consumer")
    except KeyError:
        pass


async def leave_events(client: AsyncMoonshot) -> None:
    async with client.chat.completions.stream(**ASK) as stream:
        async for _ in stream:
            break


LEAVERS = [leave_by_break, leave_unread, leave_after_anext, leave_context, leave_aclosing, leave_by_exception]


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize("leave", [*LEAVERS, leave_events])
async def test_an_abandoned_stream_lets_go_of_its_connection(
    scripted: Start, client_of: Any, leave: Callable[[AsyncMoonshot], Awaitable[None]]
) -> None:
    server = await scripted(endless)
    client, sockets = client_of(server), open_sockets()
    times = 1000 if leave is leave_by_break else 30
    for _ in range(times):
        await leave(client)
    await server.until(lambda: server.open == 0, seconds=1)
    assert len(server.peers) == times
    assert open_sockets() <= sockets
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize("where", ["reading", "elsewhere"])
async def test_cancelled_consumers_let_go_of_their_connections_while_their_exceptions_live_on(
    scripted: Start, client_of: Any, where: str
) -> None:
    server = await scripted(endless)
    client, sockets = client_of(server), open_sockets()
    held: list[BaseException] = []

    async def consume(reading: asyncio.Event) -> None:
        stream = await client.chat.completions.create(**ASK, stream=True)
        async for _ in stream:
            reading.set()
            if where == "elsewhere":
                await asyncio.sleep(60)

    async def abandon() -> None:
        reading = asyncio.Event()
        task = asyncio.create_task(consume(reading))
        await reading.wait()
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as error:
            held.append(error)

    for _ in range(25):
        await asyncio.gather(*(abandon() for _ in range(20)))
    await server.until(lambda: server.open == 0, seconds=1)
    assert len(held) == 500
    assert open_sockets() <= sockets
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_stream_dropped_in_another_thread_lets_go_of_its_connection(scripted: Start, client_of: Any) -> None:
    server = await scripted(endless)
    client = client_of(server)
    held = [await client.chat.completions.create(**ASK, stream=True)]
    await asyncio.to_thread(held.clear)
    await server.until(lambda: server.open == 0, seconds=1)


# --- clocks


async def dripping_head(peer: Peer) -> None:
    await peer.request()
    await peer.drip(answer(COMPLETION), every=0.1)


async def dripping_body(peer: Peer) -> None:
    await peer.request()
    await peer.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(COMPLETION))
    await peer.drip(COMPLETION, every=0.1)


async def dripping_comments(peer: Peer) -> None:
    await peer.request()
    await peer.send(SSE_HEAD)
    await peer.drip(chunk(b": hb\n\n") * 100, every=0.05, size=11)


async def flooding_comments(peer: Peer) -> None:
    await peer.request()
    await peer.send(SSE_HEAD)
    while True:
        await peer.send(chunk(b": flood\n" * 8000))


async def slow_deltas(peer: Peer) -> None:
    await peer.request()
    await peer.send(SSE_HEAD)
    while True:
        await peer.send(chunk(events(DELTA)))
        await asyncio.sleep(0.05)


async def endless_429(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(answer(b"{}", status=b"429 No", headers=b"Retry-After: 1\r\n"))


async def endless_503(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(answer(b"{}", status=b"503 No"))


async def dripping_error(peer: Peer) -> None:
    await peer.request()
    await peer.send(HEAD.replace(b"200 OK", b"500 No") + b"Content-Length: 1000\r\n\r\n")
    await peer.drip(b"x" * 1000, every=0.05)


async def not_reading(peer: Peer) -> None:
    peer.stop_reading()
    await asyncio.sleep(60)


PATIENCE = [
    (silent, False, APITimeoutError),
    (dripping_head, False, APITimeoutError),
    (dripping_body, False, APITimeoutError),
    (dripping_comments, True, APITimeoutError),
    (flooding_comments, True, APITimeoutError),
    (slow_deltas, True, APITimeoutError),
    (endless_429, False, RateLimitError),
    (endless_503, False, InternalServerError),
    (dripping_error, False, InternalServerError),
]


@pytest.mark.parametrize(("play", "stream", "expected"), PATIENCE, ids=lambda value: getattr(value, "__name__", ""))
async def test_the_timeout_bounds_the_whole_call(
    scripted: Start, client_of: Any, play: Play, stream: bool, expected: type[APIError]
) -> None:
    client = client_of(await scripted(play), max_retries=50)
    started = time.monotonic()
    with pytest.raises(expected) as caught:
        answer = await client.chat.completions.create(**ASK, stream=stream, timeout=0.5)
        async for _ in answer:
            pass
    assert time.monotonic() - started < 0.75
    if isinstance(caught.value, APITimeoutError):
        assert caught.value.clock == "total"
        assert "total timeout of 0.5 s" in str(caught.value)


async def test_the_timeout_bounds_an_upload_that_nobody_takes(scripted: Start, client_of: Any) -> None:
    server = await scripted(not_reading)
    client, sockets = client_of(server), open_sockets()
    started = time.monotonic()
    with pytest.raises(APITimeoutError) as caught:
        await client.request("POST", "/files", body=b"x" * 20_000_000, timeout=0.5)
    assert 0.5 <= time.monotonic() - started < 0.75
    assert caught.value.clock == "total"
    # Its bytes are not kept waiting for a peer that never reads them.
    await asyncio.sleep(0)
    assert open_sockets() <= sockets + 1


async def test_closing_the_client_under_an_upload_that_nobody_takes_is_quick(scripted: Start, client_of: Any) -> None:
    client = client_of(await scripted(not_reading))
    call = asyncio.create_task(client.request("POST", "/files", body=b"x" * 20_000_000))
    await asyncio.sleep(0.1)
    started = time.monotonic()
    await client.aclose()
    with pytest.raises(APIConnectionError, match="The client was closed"):
        await call
    assert time.monotonic() - started < 2


@pytest.fixture
def full_backlog() -> Iterator[str]:
    """The URL of a socket that listens, never accepts, and has no room left: connecting to it hangs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        for filler in fillers:
            filler.close()


async def test_the_timeout_bounds_connecting(full_backlog: str, client_of: Any) -> None:
    started = time.monotonic()
    with pytest.raises(APITimeoutError) as caught:
        await client_of(full_backlog).chat.completions.create(**ASK, timeout=0.5)
    assert time.monotonic() - started < 0.75
    assert caught.value.clock == "total"


async def test_the_connect_clock_ends_a_connection_attempt(full_backlog: str, client_of: Any) -> None:
    client = client_of(full_backlog, timeout=Timeout(connect=0.1), max_retries=0)
    with pytest.raises(APITimeoutError, match=r"connect timeout of 0\.1 s") as caught:
        await client.chat.completions.create(**ASK)
    assert caught.value.clock == "connect"
    assert caught.value.retryable


async def test_the_connect_clock_does_not_run_while_an_answer_is_awaited(scripted: Start, client_of: Any) -> None:
    async def late(peer: Peer) -> None:
        await peer.request()
        await asyncio.sleep(0.15)
        await peer.send(answer(COMPLETION))
        await peer.gone()

    client = client_of(await scripted(late), timeout=Timeout(connect=0.05, pool=0.05, write=0.05), max_retries=0)
    await client.chat.completions.create(**ASK)


async def test_the_read_clock_ends_silence_before_the_head(scripted: Start, client_of: Any) -> None:
    client = client_of(await scripted(silent), timeout=Timeout(read=0.1), max_retries=0)
    with pytest.raises(APITimeoutError, match=r"read timeout of 0\.1 s"):
        await client.chat.completions.create(**ASK)


async def test_the_read_clock_ends_silence_in_a_body(scripted: Start, client_of: Any) -> None:
    async def half(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(COMPLETION)[:-5])
        await peer.gone()

    client = client_of(await scripted(half), timeout=Timeout(read=0.1), max_retries=0)
    with pytest.raises(APITimeoutError, match=r"read timeout of 0\.1 s") as caught:
        await client.chat.completions.create(**ASK)
    assert caught.value.clock == "read"


async def test_the_write_clock_ends_an_upload_that_nobody_takes(scripted: Start, client_of: Any) -> None:
    client = client_of(await scripted(not_reading), timeout=Timeout(write=0.2), max_retries=0)
    with pytest.raises(APITimeoutError, match=r"write timeout of 0\.2 s") as caught:
        await client.request("POST", "/files", body=b"x" * 20_000_000)
    assert caught.value.clock == "write"


async def test_the_pool_clock_ends_the_wait_for_a_connection(scripted: Start, client_of: Any) -> None:
    transport = AiohttpTransport(max_connections=1)
    client = client_of(await scripted(endless), transport=transport, timeout=Timeout(pool=0.1), max_retries=0)
    stream = await client.chat.completions.create(**ASK, stream=True)
    with pytest.raises(APITimeoutError, match=r"pool timeout of 0\.1 s") as caught:
        await client.chat.completions.create(**ASK)
    assert caught.value.clock == "pool"
    assert not caught.value.retryable
    await stream.aclose()
    await (await client.chat.completions.create(**ASK, stream=True)).aclose()


async def test_the_first_token_clock_is_not_fed_by_comments(scripted: Start, client_of: Any) -> None:
    client = client_of(await scripted(dripping_comments), timeout=Timeout(first_token=0.25, idle=None, read=1.0))
    started = time.monotonic()
    with pytest.raises(APITimeoutError, match=r"first_token timeout of 0\.25 s") as caught:
        await anext(await client.chat.completions.create(**ASK, stream=True))
    assert caught.value.clock == "first_token"
    assert time.monotonic() - started < 0.5


async def test_the_idle_clock_is_not_fed_by_comments(scripted: Start, client_of: Any) -> None:
    async def then_comments(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD + chunk(events(DELTA)))
        await peer.drip(chunk(b": hb\n\n") * 100, every=0.05, size=11)

    client = client_of(await scripted(then_comments), timeout=Timeout(idle=0.25, read=1.0))
    stream = await client.chat.completions.create(**ASK, stream=True)
    await anext(stream)
    started = time.monotonic()
    with pytest.raises(APITimeoutError, match=r"idle timeout of 0\.25 s") as caught:
        await anext(stream)
    assert caught.value.clock == "idle"
    assert caught.value.partial is not None
    assert caught.value.partial.choices[0].message.content == "x"
    assert time.monotonic() - started < 0.5


async def test_a_stream_that_talks_is_never_cut(scripted: Start, client_of: Any) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD)
        for _ in range(12):
            await peer.send(chunk(events(DELTA)))
            await asyncio.sleep(0.05)
        await peer.send(WHOLE)

    client = client_of(await scripted(talk), timeout=Timeout(read=0.4, idle=0.4, first_token=0.4))
    stream = await client.chat.completions.create(**ASK, stream=True)
    assert len([chunk async for chunk in stream]) == 14


async def test_the_time_that_a_consumer_takes_is_not_held_against_the_server(scripted: Start, client_of: Any) -> None:
    asked = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD + chunk(events(DELTA)))
        await asked.wait()
        await asyncio.sleep(0.05)
        await peer.send(WHOLE)
        await peer.gone()

    client = client_of(await scripted(talk), timeout=Timeout(idle=0.2))
    stream = await client.chat.completions.create(**ASK, stream=True)
    await anext(stream)
    await asyncio.sleep(0.25)
    asked.set()
    assert len([chunk async for chunk in stream]) == 2


async def test_bytes_that_arrive_while_the_loop_is_held_up_win_over_the_clock(scripted: Start, client_of: Any) -> None:
    told = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD + chunk(events(DELTA)))
        await told.wait()
        await peer.send(chunk(events(DELTA)))
        # Holds up the loop until after the idle clock of the reader.
        time.sleep(0.3)  # noqa: ASYNC251
        await asyncio.sleep(0.02)
        await peer.send(WHOLE)
        await peer.gone()

    client = client_of(await scripted(talk), timeout=Timeout(idle=0.2, read=0.2))
    stream = await client.chat.completions.create(**ASK, stream=True)
    await anext(stream)
    told.set()
    assert len([chunk async for chunk in stream]) == 3


# --- answers that break off, over sockets


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_connection_is_told_with_the_systems_reason(client_of: Any, stream: bool) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        client = client_of(url, max_retries=0)
        with pytest.raises(APIConnectionError, match=r"no connection to 127\.0\.0\.1") as caught:
            await client.chat.completions.create(**ASK, stream=stream)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert type(caught.value.__cause__).__module__ == "builtins"
    assert caught.value.retryable


async def test_a_stale_connection_is_replaced_without_the_caller_noticing(scripted: Start, client_of: Any) -> None:
    async def once(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(COMPLETION))

    server = await scripted(once)
    client = client_of(server)
    for _ in range(60):
        await client.chat.completions.create(**ASK)


async def test_nothing_is_sent_again_behind_our_back(scripted: Start, client_of: Any) -> None:
    async def once_then_cut(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b'{"data": []}'))
        await peer.request()

    server = await scripted(once_then_cut)
    client = client_of(server, max_retries=0)
    await client.models.list()
    with pytest.raises(APIConnectionError, match="closed the connection without an answer"):
        await client.models.list()
    assert len(server.requests) == 2


async def test_a_large_body_is_handed_out_whole_although_the_peer_left_long_ago(
    scripted: Start, client_of: Any
) -> None:
    body = b'"%s"' % (b"0123456789" * 300_000)

    async def send_and_leave(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(body))

    server = await scripted(send_and_leave)
    client = client_of(server)
    request = client._pipeline.request("GET", "/big")
    response = await client._pipeline.open(request)
    await asyncio.sleep(0.1)
    assert await response.read() == body


async def test_an_early_refusal_of_a_large_upload_arrives(scripted: Start, client_of: Any) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.head()
        await peer.send(
            answer(b'{"error":{"message":"too large"}}', status=b"413 No", headers=b"Connection: close\r\n")
        )
        await peer.gone()

    client = client_of(await scripted(refuse), max_retries=0)
    with pytest.raises(APIError) as caught:
        await client.request("POST", "/files", body=b"x" * 5_000_000)
    assert "413" in str(caught.value)


@pytest.mark.parametrize("end", ["reset", "close"])
async def test_a_stream_cut_by_the_network_hands_out_its_deltas_first(
    scripted: Start, client_of: Any, end: str
) -> None:
    async def cut(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD + chunk(events(DELTA, DELTA)) + b"100\r\ndata: {")
        await asyncio.sleep(0.02)
        if end == "reset":
            peer.reset()

    client = client_of(await scripted(cut))
    stream = await client.chat.completions.create(**ASK, stream=True)
    seen = 0
    with pytest.raises(StreamInterruptedError) as caught:
        async for _ in stream:
            seen += 1
    assert seen == 2
    assert caught.value.partial is not None
    assert caught.value.partial.choices[0].message.content == "xx"
